"""Which log a destination's positions are of. Every partition of the processed topic has an id, in the record of its counts.

An offset says nothing by itself: a log that was made anew and has grown past a position looks like the one that was read.
So the ids are kept with the destination's own counts, in the transactions that move its positions, and compared at each
start. Where they differ, reading begins anew: what the new log holds was never delivered from it. An older copy of the same
log has the same id; that one is noticed where it is shorter than what was read.
"""

from __future__ import annotations

import logging

from msgspec import Struct
from msgspec.json import Decoder

from headwater.log.protocol import Log, Position, TopicPartition
from headwater.log.topics import DESTINATION_GROUP_PREFIX, DROPPED, PROCESSED, PROFILES, TOTALS

_log = logging.getLogger(__name__)


class _Counts(Struct):
    """What is read of a partition's totals (written by the processors)."""

    partition: int
    log: str


_decode = Decoder(_Counts).decode


async def log_ids(log: Log) -> dict[str, str]:
    """The id of each partition that has counted anything, by its number as text."""
    found: dict[str, str] = {}
    tp = TopicPartition(TOTALS, 0)
    offset, end = await log.bounds(tp)
    while offset < end:
        batch = await log.read(tp, offset)
        for record in batch.records:
            if record.value is not None:
                counts = _decode(record.value)
                found[str(counts.partition)] = counts.log
        if batch.next_offset <= offset:
            break
        offset = batch.next_offset
    return found


def replaced(known: dict[str, str], present: dict[str, str]) -> list[int]:
    """The partitions whose log is another one than was read. Pure."""
    return [int(number) for number, id_ in known.items() if present.get(number, id_) != id_]


async def go_back(log: Log, name: str, partition: int) -> None:
    """Let the destination read what the processors wrote to a partition from its beginning, and say so."""
    group, moved = DESTINATION_GROUP_PREFIX + name, []
    for topic in (PROFILES, DROPPED, PROCESSED):
        tp = TopicPartition(topic, partition)
        position, begin = await log.committed(group, tp), (await log.bounds(tp)).begin
        if position is None or position == Position(begin):
            continue
        moved.append(f"{topic}[{partition}] was read up to {position.offset}")
        owner = await log.claim(group, tp)
        try:
            transaction = owner.begin()
            transaction.advance(tp, Position(begin))
            await transaction.commit()
        finally:
            await owner.close()
    _log.error(
        "destination %s: partition %d is of another log than the one that was read (%s): the log was replaced. It is read "
        "from its beginning; what the other one held and was not delivered is lost, what both hold is delivered again",
        *(name, partition, "; ".join(moved) or "nothing was"),
    )
