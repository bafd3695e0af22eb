"""The copy of a log to one with another number of partitions: every line once, in its key's order, every reader at its place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.kit.batch import Place
from headwater.errors import LogError, LogUnavailable
from headwater.event import lines
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Bounds, Entry, Log, Position, Record, TopicPartition
from headwater.log.topics import (
    ACCEPTED,
    DESTINATION_GROUP_PREFIX,
    DROPPED,
    PROCESSED,
    PROCESSOR_GROUP,
    event_key,
    partition_of,
)
from headwater.run.migrate import cargo, copying, split
from headwater.run.migrate.steps import Extent, steps

KEYS = ["ann", "bob", "cid", "dee", "eve"]


def line_of(key: str, number: int) -> bytes:
    """A processed event."""
    return msgspec.json.encode({"messageId": str(number), "anonymousId": key, "sourceId": "web"})


async def written(sizes: Sequence[int], partitions: int) -> tuple[MemoryLog, list[list[Place]]]:
    """A log with records of so many events; for each partition the place of each line, and of the end."""
    log, placed, number = MemoryLog(partitions), [list[Place]() for _ in range(partitions)], 0
    for size in sizes:
        records: dict[int, list[bytes]] = {}
        for _ in range(size):
            key, number = KEYS[number * 7 % 5], number + 1
            records.setdefault(partition_of(key, partitions), []).append(line_of(key, number))
        for partition, texts in records.items():
            end = (await log.bounds(TopicPartition(PROCESSED, partition))).end
            placed[partition] += [Place(end, at) for at in range(len(texts))]
            await log.append([Entry(PROCESSED, partition, Record(b"\n".join(texts), events=len(texts)))])
    for partition, found in enumerate(placed):
        found.append(Place((await log.bounds(TopicPartition(PROCESSED, partition))).end))
    return log, placed


async def stand(log: Log, group: str, topic: str, partition: int, place: Place) -> None:
    """Let a group have read up to a place."""
    owner = await log.claim(group, tp := TopicPartition(topic, partition))
    transaction = owner.begin()
    transaction.advance(tp, place.position())
    await transaction.commit()


async def texts(log: Log, begin: Mapping[int, Place] | None = None) -> list[list[bytes]]:
    """The lines of each partition from a place on."""
    found = []
    for number in range(log.partitions(PROCESSED)):
        place = (begin or {}).get(number, Place(0))
        batch = await log.read(TopicPartition(PROCESSED, number), place.offset, max_bytes=1 << 30)
        every = [(Place(r.offset, at), text) for r in batch.records for at, text in enumerate(lines(r.value))]
        found.append([text for at, text in every if at >= place])
    return found


async def unread(log: Log, group: str) -> list[bytes]:
    """The lines that a group has yet to read, sorted."""
    begin = {}
    for number in range(log.partitions(PROCESSED)):
        stored = await log.committed(group, TopicPartition(PROCESSED, number))
        begin[number] = Place.of(stored)
    return sorted(text for found in await texts(log, begin) for text in found)


async def carried(old: Log, new: Log, names: Sequence[str]) -> None:
    """Copy everything."""
    for load in await cargo.loads(old, names, new.partitions(PROCESSED)):
        await copying.copy(old, new, load, "m", lambda _: None)


def by_key(partitions: Sequence[Sequence[bytes]]) -> dict[str, list[str]]:
    """The messageIds of each key, in order."""
    found: dict[str, list[str]] = {}
    for texts_ in partitions:
        for text in texts_:
            one = msgspec.json.decode(text, type=dict[str, str])
            found.setdefault(one["anonymousId"], []).append(one["messageId"])
    return found


@given(
    sizes=st.lists(st.integers(1, 6), max_size=8),
    partitions=st.tuples(st.integers(1, 3), st.integers(1, 4)).filter(lambda one: one[0] in (1, one[1])),
    shares=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    faults=st.lists(st.booleans(), max_size=4),
)
def test_every_reader_finds_exactly_what_it_has_not_read(
    small: None,
    sizes: list[int],
    partitions: tuple[int, int],
    shares: list[float],
    faults: list[bool],
) -> None:
    """Whatever was read where, and whichever transactions fail or lose their answer meanwhile."""

    async def check() -> None:
        old, placed = await written(sizes, partitions[0])
        groups = {DESTINATION_GROUP_PREFIX + f"d{n}": share for n, share in enumerate(shares)}
        for group, share in groups.items():
            for partition, found in enumerate(placed):
                await stand(old, group, PROCESSED, partition, found[int(share * (len(found) - 1))])
        before = {group: await unread(old, group) for group in groups}
        new = MemoryLog(partitions[1])
        for lost in faults:
            new.faults.fail("transaction", written=lost)
        await carried(old, new, ["d0", "d1", "d2"])
        assert by_key(await texts(new)) == by_key(await texts(old))
        for number, moved in enumerate(await texts(new)):
            assert {partition_of(key, partitions[1]) for key in by_key([moved])} <= {number}
        assert {group: await unread(new, group) for group in groups} == before

    asyncio.run(check())


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Small transactions and no pauses, for all examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "CHUNK_BYTES", 100)
        patch.setattr(copying, "PAUSES_S", (0.0,) * 8)
        yield


async def test_a_copy_that_ended_in_the_middle_goes_on_where_it_was(small: None) -> None:
    """What was committed is not copied again, by a second command that knows nothing of the first."""
    old, _ = await written([3] * 10, 1)
    new = MemoryLog(3)
    [load] = [one for one in await cargo.loads(old, [], 3) if one.topic == PROCESSED]

    def die(_: int) -> None:
        if len([text for found in new_lines() for text in found]) >= 9:
            raise KeyboardInterrupt

    def new_lines() -> list[list[bytes]]:
        return [
            [
                text
                for record in new.disk.part(TopicPartition(PROCESSED, n)).records
                for text in lines(record.value)
            ]
            for n in range(3)
        ]

    with pytest.raises(KeyboardInterrupt):
        await copying.copy(old, new, load, "m", die)
    assert 9 <= sum(map(len, new_lines())) < 30
    assert await copying.copy(old, new, load, "m", lambda _: None) == 30
    assert by_key(await texts(new)) == by_key(await texts(old))


async def test_an_old_copier_is_fenced_by_a_new_one() -> None:
    """Two commands cannot both copy: the claim of the second ends the first."""
    new = MemoryLog(1)
    first = await new.claim(copying.GROUP, TopicPartition(PROCESSED, 0))
    await new.claim(copying.GROUP, TopicPartition(PROCESSED, 0))
    transaction = first.begin()
    transaction.advance(TopicPartition(PROCESSED, 0), Position(1))
    with pytest.raises(LogError):
        await transaction.commit()


async def test_brokers_that_stay_away_end_the_command(small: None) -> None:
    """After the last pause it says why; the next command goes on."""
    old, _ = await written([2], 1)
    new = MemoryLog(2)
    new.faults.fail("transaction", times=100)
    [load] = [one for one in await cargo.loads(old, [], 2) if one.topic == PROCESSED]
    with pytest.raises(LogUnavailable, match="on purpose"):
        await copying.copy(old, new, load, "m", lambda _: None)


class Busy(MemoryLog):
    """A log whose processor reads an event between any two questions."""

    async def bounds(self, tp: TopicPartition) -> Bounds:
        """After another event."""
        await self._process(tp)
        return await super().bounds(tp)

    async def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """After another event."""
        await self._process(tp)
        return await super().committed(group, tp)

    async def _process(self, tp: TopicPartition) -> None:
        if tp.topic == ACCEPTED:
            await self.append([Entry(*tp, Record(b"{}"))])
            await stand(self, PROCESSOR_GROUP, *tp, Place((await super().bounds(tp)).end))


async def test_a_log_in_use_can_be_looked_at() -> None:
    """Positions move while the command looks; that is no reason to refuse."""
    backlog, *_ = await cargo.loads(Busy(), [], 3)
    assert backlog.topic == ACCEPTED


def test_readers_that_are_ahead_and_behind_cannot_be_carried_to_another_number() -> None:
    """The message says what to do; with the same number of partitions there is no such thing."""
    begin, end = (Place(0), Place(0)), (Place(9), Place(9))
    readers = {"a": (Place(2), Place(5)), "b": (Place(5), Place(2))}
    with pytest.raises(LogError, match="is ahead in one partition and behind in another"):
        steps(Extent(DROPPED, begin, end, readers), 3)
    assert len(steps(Extent(DROPPED, begin, end, readers), 2)) == 10


def test_the_key_is_that_of_the_collector() -> None:
    """A line's partition is the one that a later copy of the event is sent to."""
    for partitions in (1, 3, 12):
        for ids in (("a", "u"), (None, "u"), ("a", None), (None, None)):
            text = msgspec.json.encode({"anonymousId": ids[0], "userId": ids[1]})
            [number] = split.processed(partitions)(Record(text), 0, None)
            assert number == partition_of(event_key(*ids), partitions)
