"""A DAG whose task only computes."""

from datetime import timedelta

from airflow.sdk import DAG, task

RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=1)}

with DAG("normal", schedule="@once", default_args=RETRIES):

    @task
    def add():
        return 1 + 2

    add()
