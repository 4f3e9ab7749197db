"""A worker with two workflows: one whose activity only computes, and one whose activity starts a shell."""

import asyncio
import subprocess
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

TIMEOUT = timedelta(seconds=20)


@activity.defn
async def add(number: int) -> int:
    return number + 1


@activity.defn
async def shell(script: str) -> str:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


@workflow.defn
class Normal:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(add, 1, start_to_close_timeout=TIMEOUT)


@workflow.defn
class Escape:
    @workflow.run
    async def run(self) -> str:
        script = "id; cat $HOME/.aws/credentials"
        return await workflow.execute_activity(shell, script, start_to_close_timeout=TIMEOUT)


async def main():
    client = await Client.connect("127.0.0.1:7233")
    async with Worker(client, task_queue="queue", workflows=[Normal, Escape], activities=[add, shell]):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
