"""A log that dies at any instant of starting and appending leaves no connection and no forgotten error behind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.kafka

# In a process of its own: what is left behind shows when it is collected, which may be in the middle of another test.
CRASHES = """
import asyncio, gc, json, sys
from headwater.log.kafka import KafkaLog
from headwater.log.protocol import Entry, Record
from headwater.log.retention import DAY_S, Policy
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

left_behind = []

async def crash(settings, turns, connected):
    log = KafkaLog(settings, policy=lambda: Policy(DAY_S))
    await log.__aenter__()
    def appended():
        return [asyncio.ensure_future(log.append([Entry(ACCEPTED, n, Record(b"e"))])) for n in (0, 1)]
    if connected:
        await asyncio.gather(*appended())
    jobs = appended()
    for _ in range(turns):
        await asyncio.sleep(0)
    await log.crash()
    await asyncio.gather(*jobs, return_exceptions=True)

async def main(broker, prefix):
    asyncio.get_running_loop().set_exception_handler(lambda _, told: left_behind.append(str(told)))
    settings = KafkaLogSettings(
        brokers=[broker], partitions=2, replication=1, min_insync_replicas=1, topic_prefix=prefix
    )
    for turns in range(60):
        for connected in (True, False):
            await crash(settings, turns, connected)
            gc.collect()

asyncio.run(main(*sys.argv[1:]))
gc.collect()
print(json.dumps(left_behind))
"""


def test_a_crash_at_any_turn_leaves_nothing_behind(kafka: str, topic_prefix: str) -> None:
    """Up to sixty turns of the loop after an append on a connected log, and after one that has to connect."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CRASHES, kafka, topic_prefix],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
