"""Members of a consumer group when something goes wrong: failing listeners, removed records, closed consumers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headwater.errors import Fenced, LogError, OffsetOutOfRange
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.topics import ACCEPTED

IN, OTHER = TopicPartition(ACCEPTED, 0), TopicPartition(ACCEPTED, 1)


class Failing:
    """A listener that cannot finish."""

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Take them."""

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Fail."""
        raise RuntimeError("cannot finish")


async def test_a_failing_listener_fails_its_own_poll_and_stops_nobody_else() -> None:
    """The newcomer gets its share; the member whose listener failed is told at its next poll, once."""
    log = MemoryLog(2)
    await log.append([Entry(*IN, Record(b"x")), Entry(*OTHER, Record(b"y"))])
    first = await log.consumer("g", [ACCEPTED], Failing())
    second = await log.consumer("g", [ACCEPTED])
    assert len(await second.poll()) == 1
    with pytest.raises(RuntimeError, match="cannot finish"):
        await first.poll()
    assert len(await first.poll()) == 1


async def test_records_removed_before_they_were_read_are_loud_until_somebody_seeks() -> None:
    """A poll never skips over what retention took; seeking to the beginning that is left goes on."""
    log = MemoryLog()
    await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(4)])
    consumer = await log.consumer("g", [ACCEPTED])
    log.trim(IN, 3)
    for _ in range(2):
        with pytest.raises(OffsetOutOfRange, match="3 records were removed"):
            await consumer.poll()
    consumer.seek(IN, (await log.bounds(IN)).begin)
    (batch,) = await consumer.poll()
    assert [record.value for record in batch.records] == [b"3"]


async def test_a_closed_consumer_reads_and_commits_nothing() -> None:
    """Also one that was sleeping in a poll when it was closed."""
    log = MemoryLog()
    consumer = await log.consumer("g", [ACCEPTED])
    polling = asyncio.create_task(consumer.poll(timeout=60))
    await asyncio.sleep(0)
    await consumer.close()
    await consumer.close()
    with pytest.raises(LogError, match="closed"):
        await asyncio.wait_for(polling, 10)
    with pytest.raises(LogError, match="closed"):
        await consumer.poll()
    with pytest.raises(Fenced):
        await consumer.commit({IN: Position(0)})
    with pytest.raises(Fenced):
        consumer.seek(IN, 0)


async def test_no_partition_starves_while_another_is_full() -> None:
    """With polls too small for one partition alone, every partition gets its turn."""
    log = MemoryLog(2)
    await log.append([Entry(ACCEPTED, n % 2, Record(b"x" * 100)) for n in range(20)])
    consumer = await log.consumer("g", [ACCEPTED])
    polled = [batch.partition for _ in range(4) for batch in await consumer.poll(max_bytes=100)]
    assert set(polled) == {0, 1}


async def test_a_cancelled_poll_loses_nothing() -> None:
    """Whatever a cancelled poll was about to return comes with the next one."""
    log = MemoryLog()
    consumer = await log.consumer("g", [ACCEPTED])
    for turns in range(6):
        polling = asyncio.create_task(consumer.poll(timeout=60))
        await asyncio.sleep(0)
        await log.append([Entry(*IN, Record(b"%d" % turns))])
        for _ in range(turns):
            await asyncio.sleep(0)
        came = polling.done()
        polling.cancel()
        batches = (await polling) if came else await consumer.poll(timeout=10)
        assert [record.value for batch in batches for record in batch.records] == [b"%d" % turns]
