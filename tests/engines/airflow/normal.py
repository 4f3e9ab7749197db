"""A DAG whose task only computes."""

from airflow.sdk import DAG, task

with DAG("normal", schedule="@once"):

    @task
    def add():
        return 1 + 2

    add()
