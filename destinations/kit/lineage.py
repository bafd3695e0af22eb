"""Which log a destination's positions are of. Every partition of the processed topic has an id, in the record of its counts.

An offset says nothing by itself: a log that was made anew and has grown past a position looks like the one that was read.
So the ids are kept with the destination's own counts, in the transactions that move its positions, and compared whenever a
partition is claimed. Where they differ, reading begins anew: what the new log holds was never delivered from it. An older
copy of the same log has the same id; that one is noticed where it is shorter than what was read.
"""

from __future__ import annotations

import logging

from msgspec import Struct
from msgspec.json import Decoder

from headwater.log.protocol import Log, Owner, Position, TopicPartition
from headwater.log.topics import DROPPED, PROCESSED, PROFILES, TOTALS

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


def has_lineage(tp: TopicPartition) -> bool:
    """Whether the processors write the partition, so that its id says which log it is of. Pure."""
    return tp.topic in (PROFILES, DROPPED, PROCESSED)


async def go_back(log: Log, name: str, owner: Owner, tp: TopicPartition) -> Position:
    """Where a destination goes on in a partition of another log than it has read: at its beginning. Says so."""
    position, begin = await owner.position(), Position((await log.bounds(tp)).begin)
    if position not in (None, begin):
        _log.error(
            "destination %s: %s[%d] is of another log than the one that was read up to %d: the log was replaced. It is "
            "read from its beginning; what the other one held and was not delivered is lost, what both hold is delivered "
            "again",
            *(name, *tp, position.offset),
        )
    return begin
