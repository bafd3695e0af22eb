"""Retention passes a reader that stood still: told loudly, counted to the record, and what is left is worked on."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from headwater.log.protocol import Log
from headwater.log.topics import ACCEPTED, PROCESSED
from headwater.metrics import LOST_RECORDS
from tests.support import delivering, processing
from tests.support.receiver import Receiver

pytestmark = pytest.mark.kafka


def lost(topic: str) -> float:
    """What the counter of lost records says of partition 0."""
    return float(LOST_RECORDS.labels(topic, "0")._value.get())


async def test_a_processor_that_retention_has_passed_goes_on_and_tells_what_is_missing(
    kafka: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two of the records that came while it was stopped are gone: an error and a count of two, and the third is processed."""
    wanted, before = processing.settings(kafka, topic_prefix), lost(ACCEPTED)
    async with processing.kafka_log(wanted) as log:
        await processing.accept(log, "m0", "m1", "m2")
        async with processing.processing(log, tmp_path):
            await processing.balanced(log, 3)
        await processing.accept(log, "m3", "m4", "m5")
        await processing.remove_before(wanted, ACCEPTED, 5)
        with caplog.at_level(logging.ERROR):
            async with processing.processing(log, tmp_path):
                await processing.balanced(log, 4)
        assert await processing.processed_ids(log) == ["m0", "m1", "m2", "m5"]
    assert "accepted events were lost before they were processed" in caplog.text
    assert "2 records were removed by retention before they were read" in caplog.text
    assert lost(ACCEPTED) == before + 2


async def deliver(log: Log, receiver: Receiver, count: int) -> None:
    """Run a webhook until so many events have arrived in all."""
    stop = asyncio.Event()
    task = asyncio.create_task(delivering.delivery_of(delivering.workspace(receiver.url), log).run(stop))
    async with receiver.changed, asyncio.timeout(processing.WAIT_S):
        await receiver.changed.wait_for(lambda: len(receiver.ids) >= count)
    stop.set()
    await task


async def test_a_destination_that_retention_has_passed_goes_on_and_tells_what_is_missing(
    kafka: str, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As for a processor: what is left is delivered, what is gone is an error and a count."""
    wanted, before = processing.settings(kafka, topic_prefix), lost(PROCESSED)
    async with processing.kafka_log(wanted) as log, Receiver() as receiver:
        await delivering.publish(log, [delivering.event(n) for n in range(3)], per_record=1)
        await deliver(log, receiver, 3)
        await delivering.publish(log, [delivering.event(n) for n in range(3, 6)], per_record=1)
        await processing.remove_before(wanted, PROCESSED, 5)
        with caplog.at_level(logging.ERROR):
            await deliver(log, receiver, 4)
        assert sorted(receiver.ids) == ["m0", "m1", "m2", "m5"]
    assert "retention has removed everything before 5" in caplog.text
    assert lost(PROCESSED) == before + 2
