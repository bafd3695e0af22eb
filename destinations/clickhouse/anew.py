"""Tables that are new although much was loaded before: a deleted folder, a dropped database, another server.

The loader then goes back to the beginning of what the log holds, before any table is made: a kill in between leaves both
undone or the positions alone, and the next start makes the rest. What is older than the log is in backups only.

Several processes may find the tables missing at once, and one of them may have made them and begun to load while another
is still at it. So each looks once more after it has claimed a partition: tables that are there by then were made by one
that had moved the position already, and whoever loads into them claims after them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator

from headwater.log import topics
from headwater.log.protocol import Log, Position, TopicPartition

TOPICS = (topics.PROCESSED, topics.PROFILES, topics.DROPPED, topics.DELIVERIES)

_log = logging.getLogger(__name__)


StillNew = Callable[[], Awaitable[bool]]  # whether nobody has made the tables yet


async def begin_anew(log: Log, name: str, database: str, still_new: StillNew) -> None:
    """Let the destination load all that the log holds once more, and say so; nothing where it has loaded nothing.

    Raises Fenced where another process claims meanwhile: the tables are its doing then.
    """
    group = topics.DESTINATION_GROUP_PREFIX + name
    moved = [tp for tp in _inputs(log) if await _go_back(log, group, tp, still_new)]
    if moved:
        again = sum(lag.events for lag in await log.lag(group, [topics.PROCESSED]))
        _log.error(
            "destination %s: the tables of database %r are new and empty, though events were loaded before. All that the "
            "log still holds is loaded again (%d events; `headwater status` counts them once more). What is "
            "older than the log is in a backup or lost: to restore one, stop Headwater first",
            *(name, database, again),
        )


async def loaded_before(log: Log, name: str) -> bool:
    """Whether the destination has a position beyond the beginning of what the log holds."""
    group = topics.DESTINATION_GROUP_PREFIX + name
    return any([await _is_beyond(log, group, tp) for tp in _inputs(log) if tp.topic == topics.PROCESSED])


def _inputs(log: Log) -> Iterator[TopicPartition]:
    for topic in TOPICS:
        for number in range(log.partitions(topic)):
            yield TopicPartition(topic, number)


async def _is_beyond(log: Log, group: str, tp: TopicPartition) -> bool:
    position, bounds = await log.committed(group, tp), await log.bounds(tp)
    return position is not None and (position.offset > bounds.begin or bool(position.metadata))


async def _go_back(log: Log, group: str, tp: TopicPartition, still_new: StillNew) -> bool:
    if not await _is_beyond(log, group, tp):
        return False
    owner = await log.claim(group, tp)
    try:
        if not await still_new():
            return False
        transaction = owner.begin()
        transaction.advance(tp, Position((await log.bounds(tp)).begin))
        await transaction.commit()
    finally:
        await owner.close()
    return True
