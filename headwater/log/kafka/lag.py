"""How far a group is behind: exact for a short tail, estimated for a long one.

Kafka counts offsets, not events. The events of the first `LOOK_BYTES` unread are counted by their header; where more is
unread, the rest is taken to hold as many events an offset. A group that has read everything costs no fetch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from headwater.errors import OffsetOutOfRange
from headwater.log.kafka.cluster import Cluster, together
from headwater.log.kafka.failures import reaching
from headwater.log.protocol import Bounds, Lag, Position, TopicPartition

LOOK_BYTES = 1 << 20
ONCE = 8  # partitions looked into at a time


async def lags(cluster: Cluster, group: str, tps: Sequence[TopicPartition]) -> list[Lag]:
    """One for each partition, in their order. Raises LogUnavailable."""
    stored: Mapping[TopicPartition, Position]
    stored, bounds = await together(cluster.glimpse(group, tps, 0), cluster.bounds(tps))
    places = asyncio.Semaphore(ONCE)

    async def one(tp: TopicPartition) -> Lag:
        async with places:
            return await _lag(cluster, tp, stored.get(tp), bounds[tp])

    return await together(*(one(tp) for tp in tps))


async def _lag(cluster: Cluster, tp: TopicPartition, stored: Position | None, bounds: Bounds) -> Lag:
    position = stored.offset if stored else bounds.begin
    start = max(position, bounds.begin)
    if start >= bounds.end:
        return Lag(tp, position, bounds.end, 0, 0)
    try:
        found = await cluster.read(tp, start, LOOK_BYTES)
    except OffsetOutOfRange:  # retention came between the two questions; the next look is right again
        return Lag(tp, position, bounds.end, bounds.end - start, 0)
    with reaching(f"cannot unpack {tp.topic}[{tp.partition}]"):
        records = [record for record in found.take(LOOK_BYTES) if record.offset < bounds.end]
    events = sum(record.events for record in records)
    looked = min(found.offset, bounds.end) - start
    if found.offset < bounds.end and looked > 0:
        events = events * (bounds.end - start) // looked
    return Lag(tp, position, bounds.end, events, records[0].timestamp if records else 0)
