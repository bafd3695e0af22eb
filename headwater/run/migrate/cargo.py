"""What a log on one machine holds that a cluster must have: backlog, outputs, people, retries, letters, and cursors.

Events that the processors are done with are not copied from `events.accepted`: they are in its outputs. Of the retries and
the dead letters only what waits is copied; the outputs are copied whole, for the dedupe memory is rebuilt from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from destinations.kit.batch import Place
from destinations.kit.letters import survey
from headwater.log.protocol import Log, Position, Record, TopicPartition
from headwater.log.topics import (
    ACCEPTED,
    DEAD_PREFIX,
    DELIVERIES,
    DESTINATION_GROUP_PREFIX,
    DESTINATION_TOTALS,
    DROPPED,
    PROCESSED,
    PROCESSOR_GROUP,
    PROFILES,
    RETRY_PREFIX,
    TOTALS,
)
from headwater.run.funnel import latest
from headwater.run.migrate import split
from headwater.run.migrate.split import Split
from headwater.run.migrate.steps import Extent, Step, steps
from processors import totals

SHARED = (PROCESSED, DROPPED, PROFILES, DELIVERIES)  # what destinations read from where they were


@dataclass(frozen=True, slots=True)
class Load:
    """One topic's part: the steps of its copy, and how records of an old partition are dealt out."""

    topic: str
    steps: Sequence[Step]
    split_of: Callable[[int], Split]

    @property
    def records(self) -> int:
        """How many offsets the copy covers."""
        return sum(step.end.offset - step.begin.offset for step in self.steps)


async def loads(old: Log, names: Sequence[str], partitions: int) -> list[Load]:
    """Everything to be copied to a log of so many partitions. Raises LogError where that cannot be done."""
    found = [_load(await _backlog(old), partitions, split.arrivals)]
    kinds: dict[str, Callable[[int], Split]] = {
        PROCESSED: split.processed,
        DROPPED: split.dropped,
        PROFILES: split.keyed,
        DELIVERIES: lambda _: split.deliveries,
    }
    for topic in SHARED:
        extent = await _read_by(old, topic, [DESTINATION_GROUP_PREFIX + name for name in names])
        count = 1 if topic == DELIVERIES else partitions
        found.append(_load(extent, count, kinds[topic]))
    for name in names:
        found += [await _retries(old, name), await _letters(old, name)]
    return found


def _load(extent: Extent, partitions: int, kind: Callable[[int], Split]) -> Load:
    changes = len(extent.begin) != partitions or extent.topic == DELIVERIES
    split_of = (lambda _: kind(partitions)) if changes else split.whole
    return Load(extent.topic, steps(extent, partitions), split_of)


async def _bounds(old: Log, topic: str) -> tuple[list[Place], list[Place]]:
    found = [await old.bounds(TopicPartition(topic, number)) for number in range(old.partitions(topic))]
    return [Place(one.begin) for one in found], [Place(one.end) for one in found]


async def places(old: Log, group: str, topic: str) -> list[Position | None]:
    """Where a group is in each partition."""
    return [await old.committed(group, TopicPartition(topic, n)) for n in range(old.partitions(topic))]


async def _unread(old: Log, topic: str, group: str) -> Extent:
    """What the group has yet to read. Its positions are read before the ends: a log that is looked at may be in use."""
    stored = await places(old, group, topic)
    begin, end = await _bounds(old, topic)
    at = [
        max(low, Place(position.offset)) if position else low
        for low, position in zip(begin, stored, strict=True)
    ]
    return Extent(topic, tuple(at), tuple(end))


async def _backlog(old: Log) -> Extent:
    return await _unread(old, ACCEPTED, PROCESSOR_GROUP)


async def _read_by(old: Log, topic: str, groups: Sequence[str]) -> Extent:
    begin, end = await _bounds(old, topic)
    readers = {}
    for group in groups:
        stored = await places(old, group, topic)
        if any(stored):  # one that never read begins at the beginning of any log
            readers[group] = tuple(
                Place.of(position) if position else low for position, low in zip(stored, begin, strict=True)
            )
    return Extent(topic, tuple(begin), tuple(end), readers)


async def _retries(old: Log, name: str) -> Load:
    topic = RETRY_PREFIX + name
    extent = await _unread(old, topic, DESTINATION_GROUP_PREFIX + name)
    return Load(topic, steps(extent, old.partitions(topic)), split.whole)


async def _letters(old: Log, name: str) -> Load:
    """The letters nothing was decided about; their ids become those of the new log."""
    topic, found = DEAD_PREFIX + name, await survey(old, name)
    extent = Extent(topic, (Place(found.first),), (Place(found.end),))

    def split_of(_: int) -> Split:
        def open_ones(record: Record, _begin: int, _end: int | None) -> Mapping[int, Record]:
            return {0: record} if record.offset in found else {}

        return open_ones

    return Load(topic, steps(extent, 1), split_of)


async def intents(old: Log, names: Sequence[str]) -> list[str]:
    """The destinations that were ended in the middle of an insert, which only the log it was read from can complete."""
    found = []
    for name in names:
        for topic in SHARED:
            stored = await places(old, DESTINATION_GROUP_PREFIX + name, topic)
            if any(position and position.metadata.startswith("{") for position in stored):
                found.append(name)
                break
    return found


async def counts(old: Log, log_ids: Sequence[str]) -> list[Record]:
    """The totals of the new log's partitions: the first one goes on from the sum of all old ones."""
    stored = (await latest(old, TOTALS)).values()
    first = totals.merged(0, log_ids[0], [totals.decode(value) for value in stored])
    fresh = (totals.Totals(partition=number, log=id_) for number, id_ in enumerate(log_ids) if number)
    return [one.record() for one in (first, *fresh)]


async def books(old: Log, names: Sequence[str], log_ids: Sequence[str]) -> list[Record]:
    """What the destinations have counted, in one row each; places in their tables go on behind those of the old log."""
    from destinations.kit.records import Totals, decode_totals, encode

    ends = [place.offset for topic in SHARED for place in (await _bounds(old, topic))[1]]
    sums: dict[str, Totals] = {}
    for value in (await latest(old, DESTINATION_TOTALS)).values():
        row = decode_totals(value)
        if row.destination in names:
            sums[row.destination] = sums.get(row.destination, Totals(destination=row.destination)).plus(row)
    logs = {str(number): id_ for number, id_ in enumerate(log_ids)}
    return [
        Record(
            encode(msgspec.structs.replace(now, logs=logs, before=now.before + max(ends))), key=name.encode()
        )
        for name, now in sums.items()
    ]
