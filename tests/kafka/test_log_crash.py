"""A log that dies at any instant of starting and appending leaves no connection and no forgotten error behind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

from headwater.log.kafka import KafkaLog
from headwater.log.protocol import Entry, Record
from headwater.log.retention import DAY_S, Policy
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

pytestmark = pytest.mark.kafka


def appended(log: KafkaLog) -> list[asyncio.Future[Any]]:
    """Appends to two partitions that are under way."""
    return [asyncio.ensure_future(log.append([Entry(ACCEPTED, n, Record(b"e"))])) for n in (0, 1)]


@pytest.mark.timeout(100)
async def test_a_crash_at_any_turn_leaves_nothing_behind(kafka: str, topic_prefix: str) -> None:
    """Sixty turns of the loop after a first append, and after one that connects."""
    settings = KafkaLogSettings(
        brokers=[kafka], partitions=2, replication=1, min_insync_replicas=1, topic_prefix=topic_prefix
    )
    left_behind: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, told: left_behind.append(f"{told}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # aiokafka tells the handler, too
        for turns in range(60):
            for connected in (True, False):
                log = KafkaLog(settings, policy=lambda: Policy(DAY_S))
                await log.__aenter__()
                if connected:
                    await asyncio.gather(*appended(log))
                jobs = appended(log)
                for _ in range(turns):
                    await asyncio.sleep(0)
                await log.crash()
                await asyncio.gather(*jobs, return_exceptions=True)
                del log, jobs
        gc.collect()
    assert left_behind == []
