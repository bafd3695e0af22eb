"""A place that is changed while an answer is on its way: the answer belongs to the place that was asked for."""

from __future__ import annotations

import asyncio

import pytest

from headwater.log.protocol import Consumer, TopicPartition
from headwater.log.topics import ACCEPTED
from tests.support import processing

pytestmark = pytest.mark.kafka
TP = TopicPartition(ACCEPTED, 0)


async def offsets(consumer: Consumer) -> list[int]:
    """Offsets of the next records that are current."""
    async with asyncio.timeout(processing.WAIT_S):
        while True:
            for batch in await consumer.poll():
                if consumer.is_current(batch):
                    return [record.offset for record in batch.records]


async def test_a_seek_right_after_a_fetch_was_begun_is_not_overtaken_by_its_answer(
    kafka: str, topic_prefix: str
) -> None:
    """The fetch that a poll leaves behind has not started yet when its owner seeks back; nothing may be skipped."""
    async with processing.kafka_log(processing.settings(kafka, topic_prefix)) as log:
        await processing.accept(log, "m0", "m1", "m2")
        consumer = await log.consumer("test", [ACCEPTED])
        while 2 not in await offsets(consumer):
            continue
        consumer.seek(TP, 1)
        await processing.accept(log, "m3")
        assert (await offsets(consumer))[0] == 1
        await consumer.close()
