"""One input partition of a destination: read in order, send concurrently, commit in order.

Batches are cut from the partition one after another and sent side by side; the position moves over finished batches only
as far as no unfinished one stands before them. A crash therefore repeats at most what was under way, and loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from destinations.kit.batch import Gather, Place, Step, Unit
from destinations.kit.books import Page
from destinations.kit.records import Totals
from destinations.kit.settle import Settled
from destinations.kit.source import Source
from headwater.clock import Clock
from headwater.log.protocol import Entry, Log, Record, TopicPartition
from headwater.metrics import LOST_RECORDS
from headwater.plugin import Batching

READ_BYTES = 1 << 20
WINDOW = 32  # batches launched and not yet committed, of one partition

logger = logging.getLogger(__name__)

Work = Callable[[TopicPartition, Unit], Coroutine[Any, Any, Settled]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the lanes of a destination share. `places` bounds the batches under way."""

    log: Log
    clock: Clock
    batching: Batching
    places: asyncio.Semaphore
    work: Work
    idle_s: float  # the longest sleep; the clock is looked at again after it


@dataclass(frozen=True, slots=True)
class _Flight:
    unit: Unit
    task: asyncio.Task[Settled]


class Lane:
    """Moves one partition's position by having its events sent."""

    def __init__(self, page: Page, source: Source, around: Surroundings) -> None:
        self.tp, self._page, self._source, self._around = page.tp, page, source, around
        self._flights: deque[_Flight] = deque()
        self._launched = asyncio.Event()
        self._draining = False
        # finished batches that wait for a slow one before them are bounded too
        self._window = asyncio.Semaphore(WINDOW)
        self._records: deque[Record] = deque()
        self._steps: Iterator[tuple[Step, Place]] = iter(())
        self._ahead: tuple[Step, Place] | None = None
        self._next = Place(0)  # the place after everything taken from the log so far
        self._offset = 0  # where the next read begins

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then what is under way is finished and committed.

        Raises Fenced, OffsetOutOfRange and LogUnavailable: whoever supervises starts the destination again.
        """
        await self._start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._commit())
            launching = tasks.create_task(self._launch(tasks))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({launching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
                launching.cancel()
                self._draining = True
                self._launched.set()

    async def _start(self) -> None:
        stored = await self._page.owner.position()
        begin, end = await self._around.log.bounds(self.tp)
        self._next = Place.of(stored) if stored else Place(begin)
        if self._next.offset < begin:
            LOST_RECORDS.labels(self.tp.topic, str(self.tp.partition)).inc(begin - self._next.offset)
            logger.error(
                "destination %s: %s[%d] was read up to offset %d, but retention has removed everything before %d; "
                "going on from there. Give the log more room (log.retention_days, log.retention_bytes)",
                *(self._page.name, *self.tp, self._next.offset, begin),
            )
            self._next = Place(begin)
        if self._next.offset > end:
            logger.error(
                "destination %s: %s[%d] was read up to offset %d, but the log ends at %d: it was replaced by an "
                "older copy, or made anew. Going on at %d; what was written there before is not delivered",
                *(self._page.name, *self.tp, self._next.offset, end, end),
            )
            self._next = Place(end)
        self._offset = self._next.offset

    async def _launch(self, tasks: asyncio.TaskGroup) -> None:
        gather = Gather(self._around.batching, self._next)
        while True:
            await self._fill(gather)
            await self._window.acquire()
            await self._around.places.acquire()
            unit = gather.take()
            task = tasks.create_task(self._work(unit))
            self._flights.append(_Flight(unit, task))
            self._launched.set()
            await asyncio.sleep(0)  # a backlog in memory must not keep the loop from sending

    async def _work(self, unit: Unit) -> Settled:
        try:
            return await self._around.work(self.tp, unit)
        finally:
            self._around.places.release()

    async def _fill(self, gather: Gather) -> None:
        """Gather steps until the batch is full or old enough."""
        clock = self._around.clock
        while not gather.full:
            if self._ahead is None:
                self._ahead = self._take()
            if self._ahead is not None:
                if not gather.fits(self._ahead[0]):
                    return
                gather.add(*self._ahead, clock.monotonic())
                self._ahead = None
            elif not await self._more(gather):
                return

    def _take(self) -> tuple[Step, Place] | None:
        """The next step of what was read, if it is ready."""
        while True:
            if (found := next(self._steps, None)) is not None:
                self._next = found[1]
                return found
            now_ms = self._around.clock.now_ms()
            if not self._records or self._source.ready_ms(self._records[0], now_ms) > now_ms:
                return None
            self._steps = self._source.steps(self._records.popleft(), self._next, now_ms)

    async def _more(self, gather: Gather) -> bool:
        """Read on, or sleep; False where the batch should go as it is."""
        log, clock = self._around.log, self._around.clock
        if not self._records:
            batch = await log.read(self.tp, self._offset, max_bytes=READ_BYTES)
            self._offset = max(self._offset, batch.next_offset)
            self._records.extend(batch.records)
            if batch.records:
                return True
        if gather and (self._records or gather.wait_s(clock.monotonic()) <= 0):
            return False
        wait = gather.wait_s(clock.monotonic()) if gather else self._around.idle_s
        if self._records:
            now_ms = clock.now_ms()
            wait = (self._source.ready_ms(self._records[0], now_ms) - now_ms) / 1000
        await log.wait([self.tp.topic], max(0.001, min(wait, self._around.idle_s)))
        return True

    async def _commit(self) -> None:
        while True:
            while not self._flights:
                if self._draining:
                    return
                self._launched.clear()
                await self._launched.wait()
            await asyncio.wait({self._flights[0].task})
            done: list[_Flight] = []
            for flight in self._flights:
                if not flight.task.done():
                    break
                done.append(flight)
            await self._write([flight.task.result() for flight in done], done[-1].unit.end)
            for _ in done:
                self._flights.popleft()
                self._window.release()

    async def _write(self, settled: list[Settled], end: Place) -> None:
        entries: list[Entry] = []
        change = Totals(destination=self._page.name)
        for each in settled:
            entries += each.entries
            change = change.plus(each.change)
        await self._page.commit(end.position(), entries, change)
