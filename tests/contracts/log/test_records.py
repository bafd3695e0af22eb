"""Records: durable, in order, where they were put, readable from any place."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from headwater.errors import OffsetOutOfRange
from headwater.log.protocol import Entry, Log, Record, TopicPartition
from headwater.log.topics import ACCEPTED
from tests.contracts.log.harness import IN, ROWS, Harness, read_all, values


async def test_an_empty_partition_begins_and_ends_at_zero(log: Log) -> None:
    """Nothing written: bounds are equal and reading at the beginning is empty, not an error."""
    begin, end = await log.bounds(IN)
    assert begin == end
    batch = await log.read(IN, begin)
    assert (batch.records, batch.next_offset) == ([], begin)


async def test_records_come_back_as_they_were_written(log: Log, harness: Harness) -> None:
    """Value, key, event count and timestamp survive; offsets grow; a missing timestamp is the log's clock."""
    given = [
        Record(b"one\ntwo\n", events=2, timestamp=5),
        Record("\u00fc\U0001f600".encode(), b"key"),
        Record(b"", b""),
        Record(bytes(range(256)) * 40, events=7, timestamp=9),
    ]
    await log.append([Entry(*IN, record) for record in given])
    found = await read_all(log, IN)
    assert [(r.value, r.key, r.events) for r in found] == [(r.value, r.key, r.events) for r in given]
    assert [r.timestamp for r in found] == [5, harness.clock.now_ms(), harness.clock.now_ms(), 9]
    assert all(a.offset < b.offset for a, b in pairwise(found))


async def test_reading_begins_at_any_offset(log: Log) -> None:
    """A read from the middle of a batch gives exactly the rest."""
    await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(50)])
    await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(50, 60)])
    found = await read_all(log, IN)
    for index in (0, 1, 17, 49, 50, 59):
        assert await read_all(log, IN, found[index].offset) == found[index:]


async def test_a_read_is_bounded_in_bytes_but_never_empty_handed(log: Log) -> None:
    """max_bytes cuts between records; a record larger than it is returned all the same."""
    await log.append([Entry(*IN, Record(b"x" * 1000)) for _ in range(10)])
    begin = (await log.bounds(IN)).begin
    assert len((await log.read(IN, begin, max_bytes=2500)).records) == 2
    assert len((await log.read(IN, begin, max_bytes=1)).records) == 1
    assert len(await read_all(log, IN, max_bytes=1)) == 10


@pytest.mark.parametrize("beyond", [-1, 1, 1000])
async def test_offsets_outside_the_log_are_refused_loudly(log: Log, beyond: int) -> None:
    """Before the beginning and past the end, with the bounds in the error."""
    await log.append([Entry(*IN, Record(b"x"))])
    begin, end = await log.bounds(IN)
    with pytest.raises(OffsetOutOfRange, match=r"events\.accepted\[0\]") as caught:
        await log.read(IN, end + beyond if beyond > 0 else begin + beyond)
    assert (caught.value.begin, caught.value.end) == (begin, end)


async def test_partitions_do_not_mix(log: Log) -> None:
    """Each partition has its own records and offsets."""
    await log.append([Entry(ACCEPTED, n % 2, Record(b"%d" % n)) for n in range(10)])
    for partition in (0, 1):
        found = values(await read_all(log, TopicPartition(ACCEPTED, partition)))
        assert found == [b"%d" % n for n in range(partition, 10, 2)]


async def test_unknown_topics_and_partitions_are_refused_before_anything_is_written(log: Log) -> None:
    """A wrong entry refuses the whole call."""
    with pytest.raises(ValueError, match="unknown topic 'nope'"):
        await log.append([Entry(*IN, Record(b"x")), Entry("nope", 0, Record(b"x"))])
    with pytest.raises(ValueError, match="partitions 0 to 1, not 2"):
        await log.append([Entry(*IN, Record(b"x")), Entry(ACCEPTED, 2, Record(b"x"))])
    assert await read_all(log, IN) == []


async def test_concurrent_appends_keep_each_callers_order_and_lose_nothing(log: Log) -> None:
    """64 callers, each awaiting its own appends: all there once, each caller's in order."""

    async def write(caller: int) -> None:
        for n in range(20):
            await log.append([Entry(*IN, Record(b"%d %d" % (caller, n)))])

    async with asyncio.TaskGroup() as group:
        for caller in range(64):
            group.create_task(write(caller))
    found = [tuple(map(int, (record.value or b"").split())) for record in await read_all(log, IN)]
    assert sorted(found) == [(caller, n) for caller in range(64) for n in range(20)]
    for caller in range(64):
        assert [n for who, n in found if who == caller] == list(range(20))


async def test_acknowledged_records_survive_a_crash(log: Log, harness: Harness) -> None:
    """What append returned for is there after a kill, at the same offsets."""
    await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(100)])
    before = await read_all(log, IN)
    await harness.crash()
    again = await harness.open()
    assert await read_all(again, IN) == before
    await again.append([Entry(*IN, Record(b"after"))])
    assert values(await read_all(again, IN))[-1] == b"after"


async def test_a_compacted_topic_keeps_the_last_value_of_each_key_in_offset_order(
    log: Log, harness: Harness
) -> None:
    """Folding it from the beginning gives the newest value of every key and knows of deletions, also after a crash."""
    for key, value in [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"c", b"1"), (b"b", None)]:
        await log.append([Entry(*ROWS, Record(value, key))])

    async def folded(log: Log) -> dict[bytes | None, bytes | None]:
        found = await read_all(log, ROWS)
        assert [r.offset for r in found] == sorted(r.offset for r in found)
        return {record.key: record.value for record in found}

    assert await folded(log) == {b"a": b"2", b"b": None, b"c": b"1"}
    await harness.crash()
    again = await harness.open()
    assert await folded(again) == {b"a": b"2", b"b": None, b"c": b"1"}
    await again.append([Entry(*ROWS, Record(b"3", b"a")), Entry(*ROWS, Record(b"4", b"a"))])
    assert (await folded(again))[b"a"] == b"4"


async def test_a_write_wakes_a_sleeper(log: Log) -> None:
    """A sleep returns False when nothing comes, True as soon as something does."""
    assert not await log.wait([ACCEPTED], 0.01)
    sleeper = asyncio.create_task(log.wait([ACCEPTED], 30))
    await asyncio.sleep(0)
    await log.append([Entry(*IN, Record(b"x"))])
    assert await asyncio.wait_for(sleeper, 10)


async def test_a_write_between_reading_and_sleeping_is_not_missed(log: Log) -> None:
    """The lost wake-up: read to the end, somebody writes, then sleep."""
    await log.append([Entry(*IN, Record(b"1"))])
    seen = await read_all(log, IN)
    await log.append([Entry(*IN, Record(b"2"))])
    assert await log.wait([ACCEPTED], 10)
    assert len(await read_all(log, IN)) == len(seen) + 1


async def test_each_reader_of_a_topic_is_told_of_each_write(log: Log) -> None:
    """Two tasks that read and sleep: one being told does not use up the other's wake-up, nor does a wrapper task."""
    ready, go = asyncio.Semaphore(0), asyncio.Event()

    async def reader(*, wrapped: bool) -> int:
        before = len(await read_all(log, IN))
        ready.release()
        await go.wait()
        sleep = log.wait([ACCEPTED], 10)
        assert await (asyncio.create_task(sleep) if wrapped else sleep)
        return len(await read_all(log, IN)) - before

    readers = [asyncio.create_task(reader(wrapped=n % 2 == 1)) for n in range(4)]
    for _ in readers:
        await ready.acquire()
    await log.append([Entry(*IN, Record(b"x"))])
    go.set()
    assert await asyncio.gather(*readers) == [1] * 4


async def test_sleeping_again_after_having_read_does_not_return_at_once(log: Log) -> None:
    """Idle is idle: whoever has read everything sleeps, also when each sleep is a task of its own."""
    await log.append([Entry(*IN, Record(b"x"))])
    for _ in range(2):
        await read_all(log, IN)
        assert not await log.wait([ACCEPTED], 0.01)
        assert not await asyncio.create_task(log.wait([ACCEPTED], 0.01))
