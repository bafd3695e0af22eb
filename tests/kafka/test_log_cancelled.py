"""A log whose users are cancelled at any instant, and that is closed then, leaves no connection open and no forgotten error."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.kafka

# In a process of its own, for its connections are counted.
CANCELLED = """
import asyncio, json, sys
import psutil
from headwater.log.kafka import KafkaLog
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.retention import DAY_S, Policy
from headwater.log.topics import ACCEPTED, PROCESSED
from headwater.workspace.model import KafkaLogSettings

IN = TopicPartition(ACCEPTED, 0)

async def append(log, group):
    await log.append([Entry(*IN, Record(b"e"))])

async def measure(log, group):
    await log.lag(group, [ACCEPTED])

async def move(log, group):
    transaction = (owner := await log.claim(group, IN)).begin()
    transaction.append(PROCESSED, 0, [Record(b"e")])
    transaction.advance(IN, Position(1))
    await transaction.commit()
    await owner.close()

async def read(log, group):
    consumer = await log.consumer(group, [ACCEPTED])
    await consumer.poll(timeout=0.01)
    await consumer.close()

async def left_open(settings, use, group, seconds):
    async with KafkaLog(settings, policy=lambda: Policy(DAY_S)) as log:
        using = asyncio.create_task(use(log, group))
        await asyncio.wait([using], timeout=seconds)
        using.cancel()
        await asyncio.wait([using])
    await asyncio.sleep(0.01)
    found = psutil.Process().net_connections(kind="tcp")
    return len([one for one in found if one.status == psutil.CONN_ESTABLISHED])

async def main(broker, prefix):
    settings = KafkaLogSettings(
        brokers=[broker], partitions=2, replication=1, min_insync_replicas=1, topic_prefix=prefix
    )
    uses = (append, measure, move, read)
    whole = {use.__name__: await left_open(settings, use, "whole", 20) for use in uses}
    cancelled = {
        f"{use.__name__} for {step} ms": left
        for use in uses
        for step in range(0, 45, 3)
        if (left := await left_open(settings, use, f"{use.__name__}-{step}", step / 1000))
    }
    print(json.dumps([whole, cancelled]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.timeout(200)
def test_whoever_is_cancelled_leaves_no_connection(kafka: str, topic_prefix: str) -> None:
    """Appending, measuring, moving by a transaction, reading as a group: whole, and cut off at each of fifteen moments."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CANCELLED, kafka, topic_prefix],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")  # no error is forgotten either
    assert json.loads(done.stdout) == [dict.fromkeys(("append", "measure", "move", "read"), 0), {}]
