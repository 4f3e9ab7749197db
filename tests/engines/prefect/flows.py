"""Two flows: one that only computes, and one whose task starts a shell."""

import os
import subprocess

from prefect import flow, task


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def shell(script: str) -> str:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


@flow
def normal():
    print("sum", add(1, 2))


@flow
def escape():
    print("shell", shell("id; cat $HOME/.aws/credentials"))


if __name__ == "__main__":
    for name in ("normal", "escape"):
        here = os.path.dirname(os.path.abspath(__file__))
        flow.from_source(source=here, entrypoint=f"flows.py:{name}").deploy(
            name=name, work_pool_name="pool", print_next_steps=False
        )
