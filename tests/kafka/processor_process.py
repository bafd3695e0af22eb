"""One processor as a process of its own: `python processor_process.py BOOTSTRAP PREFIX FOLDER`; runs until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from headwater.clock import SystemClock
from headwater.log.kafka import KafkaLog
from headwater.log.retention import DAY_S, Policy
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import KafkaLogSettings
from processors import worker
from tests.support.rig import workspace

PARTITIONS = 4


def open_log(bootstrap: str, prefix: str) -> KafkaLog:
    """As every process of the test opens it."""
    settings = KafkaLogSettings(
        brokers=[bootstrap], partitions=PARTITIONS, replication=1, min_insync_replicas=1, topic_prefix=prefix
    )
    return KafkaLog(settings, policy=lambda: Policy(7 * DAY_S))


async def main(bootstrap: str, prefix: str, folder: str) -> None:
    """Process for ever, in bites that leave time to be killed in."""
    worker.POLL_BYTES = 32 << 10
    data = DataDir(Path(folder)).make()
    async with open_log(bootstrap, prefix) as log:
        await worker.run(LiveWorkspace(workspace()), log, data, SystemClock(), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
