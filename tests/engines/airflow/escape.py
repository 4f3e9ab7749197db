"""A DAG whose task starts a shell."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("escape", schedule="@once"):
    BashOperator(task_id="shell", bash_command="id; cat $HOME/.aws/credentials")
