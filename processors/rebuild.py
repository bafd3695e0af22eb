"""How far the rebuilding of a partition's state is: lines in the log and a metric. It is work, not standing still."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from headwater import metrics
from headwater.clock import Clock
from headwater.log.protocol import Log, TopicPartition

TELL_S = 5.0  # a rebuild that takes no longer is not worth a line

T = TypeVar("T")
_log = logging.getLogger("headwater.processors")


class Rebuild:
    """The outputs that one partition's state has yet to fold when it is opened; make it with `Rebuild.begin`."""

    def __init__(self, number: int, clock: Clock, at: dict[TopicPartition, int], total: int) -> None:
        self._number, self._clock, self._at, self._total = number, clock, at, total
        self._done = 0
        self._began = self._told = clock.monotonic()
        self._show()

    @classmethod
    async def begin(
        cls, number: int, clock: Clock, log: Log, folded: Mapping[TopicPartition, int]
    ) -> Rebuild:
        """Measure what there is to read from these offsets on."""
        at, total = dict[TopicPartition, int](), 0
        for tp, offset in folded.items():
            bounds = await log.bounds(tp)
            at[tp] = max(bounds.begin, offset)
            total += max(0, bounds.end - at[tp])
        return cls(number, clock, at, total)

    @property
    def ratio(self) -> float:
        """From 0 to 1."""
        return min(1.0, self._done / self._total) if self._total else 1.0

    def reached(self, tp: TopicPartition, offset: int) -> None:
        """Everything before this offset has been folded."""
        self._done += max(0, offset - self._at.get(tp, offset))
        self._at[tp] = offset
        self._show()
        if (now := self._clock.monotonic()) - self._told >= TELL_S:
            self._told = now
            _log.info("%s", self.line())

    def line(self) -> str:
        """How far it is, and how long the rest will take at this rate."""
        spent = self._clock.monotonic() - self._began
        left = spent / self.ratio - spent if self._done else 0.0
        return (
            f"partition {self._number}: rebuilding the state from the log, {self.ratio:.0%}, "
            f"{self._done:,} of {self._total:,} records, about {left:.0f} s left"
        )

    def end(self) -> None:
        """The state is complete, or nobody waits for it any more."""
        metrics.REBUILD_RATIO.labels(str(self._number)).set(1)
        if self._told > self._began:
            spent = self._clock.monotonic() - self._began
            _log.info("partition %d: read %d records back in %.1f s", self._number, self._done, spent)

    def _show(self) -> None:
        metrics.REBUILD_RATIO.labels(str(self._number)).set(self.ratio)


async def finished(work: Awaitable[T]) -> T:
    """What `work` brings. Cancelled meanwhile, it is waited for all the same, and only then the cancellation goes on.

    For what must not be left running behind one's back: a thread in the state's files, a commit.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()
        raise asyncio.CancelledError
    return task.result()
