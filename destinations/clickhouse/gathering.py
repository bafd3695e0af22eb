"""What a session has read and not yet begun to load. Rows are made while it waits for more: a flush has few left to make."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from destinations.clickhouse.portions import CHUNK_ROWS, Portion, Prepared
from headwater.clock import Clock
from headwater.log import topics
from headwater.log.protocol import Record, TopicPartition

MakeRows = Callable[[Sequence[Portion]], Awaitable[list[Prepared]]]


class Gathering:
    """Portions by partition: at first as they were read, then as rows, a chunk of events at a time."""

    def __init__(self, make_rows: MakeRows, clock: Clock) -> None:
        self._make_rows, self._clock = make_rows, clock
        self._read: dict[TopicPartition, Portion] = {}
        self._made: dict[TopicPartition, Prepared] = {}
        self._making: asyncio.Task[None] | None = None
        self.since: dict[bool, float] = {}  # events, side topics -> when the first record came
        self.events = 0  # how many wait

    def take(self, fresh: Portion, records: Sequence[Record], end: int) -> None:
        """Add what was read of a partition up to `end`; `fresh` is where its portion begins, if this begins one."""
        portion = self._read.setdefault(fresh.tp, fresh)
        portion.take(records)
        portion.end = end
        self.since.setdefault(is_events(portion.tp), self._clock.monotonic())
        if is_events(portion.tp):
            self.events += sum(record.events for record in records)
        if self._making is not None and self._making.done():
            self._making = self._making.result()
        if self._making is None and self._has_chunk():
            self._making = asyncio.create_task(self._make_chunks())

    async def drop(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions: what was read of them is the next owner's."""
        await self._made_up()
        for tp in partitions:
            self._read.pop(tp, None)
            self._made.pop(tp, None)
        left = [*self._read.values(), *(one.portion for one in self._made.values())]
        self.events = sum(portion.events for portion in left if is_events(portion.tp))

    async def give(self, kinds: Sequence[bool]) -> list[Prepared]:
        """Hand over what waits of events (True) or side topics (False), all of it as rows."""
        await self._made_up()
        await self._make([portion for portion in self._read.values() if is_events(portion.tp) in kinds])
        for kind in kinds:
            self.since.pop(kind, None)
        self.events = 0 if True in kinds else self.events
        return [self._made.pop(tp) for tp in list(self._made) if is_events(tp) in kinds]

    def _has_chunk(self) -> bool:
        return any(is_events(portion.tp) and portion.events >= CHUNK_ROWS for portion in self._read.values())

    async def _make_chunks(self) -> None:
        while self._has_chunk():
            await self._make([portion for portion in self._read.values() if is_events(portion.tp)])

    async def _make(self, portions: Sequence[Portion]) -> None:
        for portion in portions:
            del self._read[portion.tp]
        for fresh in await self._make_rows(portions) if portions else []:
            tp = fresh.portion.tp
            if (before := self._made.get(tp)) is None:
                self._made[tp] = fresh
            else:
                before.follow(fresh)

    async def _made_up(self) -> None:
        """Wait for rows that are being made; raises what the making raised."""
        # again and again: another may have begun, or somebody else have seen it end
        while (making := self._making) is not None:
            await asyncio.wait([making])  # and not `await` it: that would hand on a cancellation
            if self._making is making:
                self._making = None
            making.result()


def is_events(tp: TopicPartition) -> bool:
    """Whether a partition holds events and not what is told of them."""
    return tp.topic == topics.PROCESSED
