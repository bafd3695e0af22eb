"""Consumer groups: positions, rebalancing, epochs, lag."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headwater.errors import Fenced
from headwater.log.protocol import Batch, Consumer, Entry, Log, Position, Record, TopicPartition
from headwater.log.topics import ACCEPTED
from tests.contracts.log.harness import IN, Harness

GROUP = "destination.hook"
OTHER = TopicPartition(ACCEPTED, 1)


async def collect(consumer: Consumer, count: int) -> list[Batch]:
    """Poll until that many records have come."""
    batches: list[Batch] = []
    while sum(len(batch.records) for batch in batches) < count:
        polled = await consumer.poll(timeout=10)
        assert polled, f"nothing more came after {batches}"
        batches += polled
    return batches


def texts(batches: Sequence[Batch]) -> list[bytes | None]:
    """All values, in the order they were polled."""
    return [record.value for batch in batches for record in batch.records]


async def test_a_new_group_reads_from_the_beginning_and_each_record_once(log: Log) -> None:
    """Polls give everything, in order per partition, then nothing."""
    await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(5)])
    consumer = await log.consumer(GROUP, [ACCEPTED])
    assert texts(await collect(consumer, 5)) == [b"0", b"1", b"2", b"3", b"4"]
    assert await consumer.poll(timeout=0.01) == []
    await log.append([Entry(*IN, Record(b"5"))])
    assert texts(await collect(consumer, 1)) == [b"5"]
    assert await consumer.committed(IN) is None


async def test_poll_returns_as_soon_as_something_is_written(log: Log) -> None:
    """A poll that sleeps is woken by a write, not by its timeout."""
    consumer = await log.consumer(GROUP, [ACCEPTED])
    polling = asyncio.create_task(consumer.poll(timeout=60))
    await asyncio.sleep(0)
    await log.append([Entry(*IN, Record(b"x"))])
    assert texts(await asyncio.wait_for(polling, 10)) == [b"x"]


async def test_committed_positions_with_their_notes_survive_a_crash(log: Log, harness: Harness) -> None:
    """A group goes on where it committed; the note comes back; what was not committed is read again."""
    await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(4)])
    consumer = await log.consumer(GROUP, [ACCEPTED])
    batch = (await collect(consumer, 4))[0]
    note = '{"to": 4, "n\u00f6te": "\U0001f600"}'
    await consumer.commit({IN: Position(batch.records[2].offset, note)})
    await harness.crash()
    log = await harness.open()
    assert await log.committed(GROUP, IN) == Position(batch.records[2].offset, note)
    again = await log.consumer(GROUP, [ACCEPTED])
    assert texts(await collect(again, 2)) == [b"2", b"3"]


async def test_groups_do_not_disturb_each_other(log: Log) -> None:
    """Each group sees every record."""
    await log.append([Entry(*IN, Record(b"x"))])
    for name in ("destination.one", "destination.two"):
        consumer = await log.consumer(name, [ACCEPTED])
        batch = (await collect(consumer, 1))[0]
        await consumer.commit({IN: Position(batch.next_offset)})
    assert [lag.events for lag in await log.lag("destination.three", [ACCEPTED])] == [1, 0]


async def test_seek_reads_again_and_outdates_what_was_fetched(log: Log) -> None:
    """After a seek earlier batches are not current and reading goes on at the sought offset."""
    await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(3)])
    consumer = await log.consumer(GROUP, [ACCEPTED])
    batch = (await collect(consumer, 3))[0]
    assert consumer.is_current(batch)
    consumer.seek(IN, batch.records[1].offset)
    assert not consumer.is_current(batch)
    assert texts(await collect(consumer, 2)) == [b"1", b"2"]


async def test_paused_partitions_are_left_out_until_resumed(log: Log) -> None:
    """Pause stops fetching of one partition only; resume wakes a sleeping poll."""
    await log.append([Entry(*IN, Record(b"a")), Entry(*OTHER, Record(b"b"))])
    consumer = await log.consumer(GROUP, [ACCEPTED])
    consumer.pause([IN])
    assert texts(await collect(consumer, 1)) == [b"b"]
    polling = asyncio.create_task(consumer.poll(timeout=60))
    await asyncio.sleep(0)
    consumer.resume([IN])
    assert texts(await asyncio.wait_for(polling, 10)) == [b"a"]


class Diary:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[TopicPartition]]] = []

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Note it."""
        self.told.append(("assigned", sorted(partitions)))

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Note it."""
        self.told.append(("revoked", sorted(partitions)))


async def test_members_share_the_partitions_and_hand_them_over(log: Log) -> None:
    """A second member takes its share after `revoked`; when it leaves, the first has all again; batches grow old."""
    await log.append([Entry(*IN, Record(b"a")), Entry(*OTHER, Record(b"b"))])
    diary = Diary()
    first = await log.consumer(GROUP, [ACCEPTED], diary)
    assert first.assignment() == {IN, OTHER}
    batches = await collect(first, 2)
    second = await log.consumer(GROUP, [ACCEPTED])
    assert first.assignment() | second.assignment() == {IN, OTHER}
    assert not first.assignment() & second.assignment()
    assert not any(first.is_current(batch) for batch in batches)
    (theirs,) = second.assignment()
    with pytest.raises(Fenced, match="not assigned"):
        await first.commit({theirs: Position(1)})
    await second.close()
    assert first.assignment() == {IN, OTHER}
    assert [what for what, _ in diary.told] == ["assigned", "revoked", "assigned", "revoked", "assigned"]
    assert diary.told[1] == ("revoked", [IN, OTHER])


async def test_uncommitted_records_go_to_the_next_holder(log: Log) -> None:
    """What a member read but did not commit is read again by whoever gets the partition."""
    await log.append([Entry(*IN, Record(b"a"))])
    first = await log.consumer(GROUP, [ACCEPTED])
    await collect(first, 1)
    await first.close()
    second = await log.consumer(GROUP, [ACCEPTED])
    assert texts(await collect(second, 1)) == [b"a"]


async def test_a_position_may_be_committed_while_partitions_are_taken_away(log: Log) -> None:
    """`revoked` is the last chance to commit, and it is taken."""

    class Finisher(Diary):
        async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
            await consumer.commit({IN: Position(ends[IN])})

    ends: dict[TopicPartition, int] = {}
    await log.append([Entry(*IN, Record(b"a"))])
    consumer = await log.consumer(GROUP, [ACCEPTED], Finisher())
    ends[IN] = (await collect(consumer, 1))[0].next_offset
    await consumer.close()
    assert await log.committed(GROUP, IN) == Position(ends[IN])


async def test_lag_counts_events_not_records(log: Log, harness: Harness) -> None:
    """Unread events and the age of the oldest one, also from the middle of a batch."""
    await log.append([Entry(*IN, Record(b"x", events=n, timestamp=1000 + n)) for n in (3, 5, 7)])
    await log.append([Entry(*IN, Record(b"x", events=11, timestamp=2000))])
    first, _ = await log.lag(GROUP, [ACCEPTED])
    assert (first.events, first.oldest_ms, first.tp) == (26, 1003, IN)
    consumer = await log.consumer(GROUP, [ACCEPTED])
    records = [record for batch in await collect(consumer, 4) for record in batch.records]
    for index, (events, oldest) in enumerate([(26, 1003), (23, 1005), (18, 1007), (11, 2000)]):
        await consumer.commit({IN: Position(records[index].offset)})
        first, _ = await log.lag(GROUP, [ACCEPTED])
        assert (first.events, first.oldest_ms, first.position) == (events, oldest, records[index].offset)
    await consumer.commit({IN: Position((await log.bounds(IN)).end)})
    first, second = await log.lag(GROUP, [ACCEPTED])
    assert (first.events, first.oldest_ms, second.events) == (0, 0, 0)
