"""One life of a loader in its group: claims, repairs, then flushes, until log or engine fail or it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from destinations.clickhouse.anew import TOPICS
from destinations.clickhouse.gathering import Gathering
from destinations.clickhouse.portions import Portion, Prepared
from destinations.kit.books import Books, Page
from headwater.errors import OffsetOutOfRange
from headwater.log import topics
from headwater.log.protocol import Batch, Consumer, Owner, Position, TopicPartition
from headwater.metrics import DESTINATION_LAG, LOST_RECORDS

if TYPE_CHECKING:
    from destinations.clickhouse.loader import Loader

logger = logging.getLogger(__name__)

ENOUGH_ROWS = 10_000  # a block of this size costs the engine little more than its rows
POLL_BYTES = 16 << 20
IDLE_S = 5.0  # how long to wait for events before looking at what is due
BUSY_S = 0.1  # the same while an insert is under way, whose failure must be noticed
LAG_S = 5.0  # how often the lag is measured


class Session:
    """From joining the group to leaving it: claims, repairs, then flushes. A `Listener` of its consumer."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._consumer: Consumer | None = None
        self._fresh: list[TopicPartition] = []
        self._pages: dict[TopicPartition, Page] = {}
        self._books = Books.of(loader.log, loader.name)
        self._next: dict[TopicPartition, int] = {}
        self._waiting = Gathering(loader.make_rows, loader.clock)
        self._took = 0.0  # by the last insert
        self._measured_at = float("-inf")
        self._lock = asyncio.Lock()
        self._inserting: asyncio.Task[None] | None = None
        self.flushed = False

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Claimed before the next flush."""
        self._fresh.extend(partitions)

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """What waits is the next owner's; so is an insert that waits for ClickHouse, but one that runs is finished first."""
        self._loader.give_up()
        try:
            async with self._lock:
                if self._inserting is not None:
                    await asyncio.wait([self._inserting])  # whether it failed is the loop's to find
                # before anything else is waited for: the loop goes on reading, and takes only what has a page
                pages = [page for tp in partitions if (page := self._pages.pop(tp, None)) is not None]
                self._fresh = [tp for tp in self._fresh if tp not in partitions]
                async with AsyncExitStack() as owners:  # all are let go of, even if making rows has failed
                    for page in pages:
                        owners.push_async_callback(page.owner.close)
                    await self._waiting.drop(partitions)
        finally:
            self._loader.give_up(give_up=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Read and flush until `stop`. Raises LogError, EngineError, Stopped."""
        loader = self._loader
        group = topics.DESTINATION_GROUP_PREFIX + loader.name
        self._consumer = await loader.log.consumer(group, TOPICS, self)
        while not stop.is_set():
            await self._claim(self._consumer)
            await self._measure(group)
            for batch in await self._unless(stop, self._poll(self._consumer)):
                self._take(batch)
            if self._inserting is not None and self._inserting.done():
                await self._settle()
            await self._flush_due()
        await self._flush([True, False])
        await self._settle()

    async def close(self) -> None:
        """Leave the group, once the insert under way has ended, however it ends: the next session verifies it."""
        if self._inserting is not None:
            await asyncio.wait([self._inserting])
            if not self._inserting.cancelled() and (error := self._inserting.exception()) is not None:
                logger.info("destination %s: the last insert failed: %s", self._loader.name, str(error)[:500])
        try:
            await self._waiting.drop(())
        finally:
            if self._consumer is not None:
                await self._consumer.close()

    async def _measure(self, group: str) -> None:
        """Tell how many events are still to be loaded, every few seconds."""
        clock = self._loader.clock
        if clock.monotonic() - self._measured_at < LAG_S:
            return
        self._measured_at = clock.monotonic()
        lags = await self._loader.log.lag(group, [topics.PROCESSED])
        DESTINATION_LAG.labels(self._loader.name).set(sum(lag.events for lag in lags))

    async def _unless(self, stop: asyncio.Event, polling: Coroutine[Any, Any, list[Batch]]) -> list[Batch]:
        """What a poll brings; nothing where `stop` is set first."""
        poll, stopped = asyncio.create_task(polling), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((poll, stopped), return_when=asyncio.FIRST_COMPLETED)
            return poll.result() if poll.done() else []
        finally:
            for pending in (poll, stopped):
                pending.cancel()
            await asyncio.gather(poll, stopped, return_exceptions=True)

    async def _poll(self, consumer: Consumer) -> list[Batch]:
        try:
            return await consumer.poll(max_bytes=POLL_BYTES, timeout=self._patience())
        except OffsetOutOfRange as gap:
            tp = TopicPartition(gap.topic, gap.partition)
            LOST_RECORDS.labels(tp.topic, str(tp.partition)).inc(max(0, gap.begin - gap.offset))
            again = max(
                gap.begin, min(gap.offset, gap.end)
            )  # what is before the end was loaded, and would be twice
            logger.error(  # noqa: TRY400 - the message says all
                "destination %s: %s; it goes on at %d", self._loader.name, gap, again
            )
            await self._flush([True, False])
            self._next[tp] = again
            consumer.seek(tp, again)
            return []

    def _take(self, batch: Batch) -> None:
        consumer = self._consumer
        if (
            consumer is None
            or not consumer.is_current(batch)
            or batch.tp not in self._pages
            or not batch.records
        ):
            return
        begin = self._next.get(batch.tp, batch.records[0].offset)
        fresh = Portion(batch.tp, begin, begin, before=self._pages[batch.tp].before)
        self._waiting.take(fresh, batch.records, batch.next_offset)
        self._next[batch.tp] = batch.next_offset

    def _wait_of(self, events: bool) -> float:
        """Events wait a little when little comes, longer when inserts are slow; side topics a second."""
        config, factor = self._loader.config, self._loader.pressure.factor
        wait = min(config.max_wait_s, max(config.min_wait_s, self._took)) if events else config.max_wait_s
        return wait * factor

    def _patience(self) -> float:
        now = self._loader.clock.monotonic()
        due = [since + self._wait_of(events) - now for events, since in self._waiting.since.items()]
        if self._inserting is not None:
            due.append(BUSY_S)
        return max(0.0, min([*due, IDLE_S]))

    def _enough(self) -> float:
        """Rows that are inserted without waiting for more; more of them while the server has too many parts."""
        return min(ENOUGH_ROWS * self._loader.pressure.factor, max(ENOUGH_ROWS, self._loader.config.max_rows))

    async def _flush_due(self) -> None:
        now = self._loader.clock.monotonic()
        due = [
            events for events, since in self._waiting.since.items() if now - since >= self._wait_of(events)
        ]
        if self._waiting.events >= self._enough() and True not in due:
            due.append(True)
        if due:
            await self._flush(due)

    async def _flush(self, kinds: Sequence[bool]) -> None:
        """Load what waits of events (True) or side topics (False), once the insert under way has ended."""
        async with self._lock:
            prepared = await self._waiting.give(kinds)
            if prepared:
                await self._settle()
                self._inserting = asyncio.create_task(self._insert(prepared))

    async def _insert(self, prepared: Sequence[Prepared]) -> None:
        loader = self._loader
        started = loader.clock.monotonic()
        async with loader.step:
            await asyncio.gather(*(self._intend(one.portion) for one in prepared))
            await loader.work(partial(loader.insert, prepared, repair=False))
            # Side by side, for a transaction is mostly waiting; all of them end before anything is made of a failure.
            finishing = (loader.finish(self._pages[one.portion.tp], one) for one in prepared)
            for failure in await asyncio.gather(*finishing, return_exceptions=True):
                if isinstance(failure, BaseException):
                    raise failure
        self._took = loader.clock.monotonic() - started
        self.flushed = True

    async def _settle(self) -> None:
        """Wait for the insert under way, if any; raises what it raised."""
        if self._inserting is not None:
            await asyncio.wait([self._inserting])  # and not `await` it: that would hand on a cancellation
            inserting, self._inserting = self._inserting, None
            inserting.result()

    async def _intend(self, portion: Portion) -> None:
        """Write down what is about to be inserted. The profiles need none: their rows replace one another."""
        if portion.tp.topic == topics.PROFILES:
            return
        transaction = self._pages[portion.tp].owner.begin()
        note = orjson.dumps({"to": portion.end}).decode()
        transaction.advance(portion.tp, Position(portion.begin, note))
        await transaction.commit()

    async def _claim(self, consumer: Consumer) -> None:
        """Own what was assigned, and finish what an earlier owner began."""
        loader = self._loader
        group = topics.DESTINATION_GROUP_PREFIX + loader.name
        while coming := list(self._fresh):
            owners: dict[TopicPartition, Owner] = {}
            try:
                for tp in coming:
                    owners[tp] = await loader.log.claim(group, tp)
                for page in (await self._books.open(owners)).values():
                    await self._begin(consumer, page)
            finally:
                kept = {id(page.owner) for page in self._pages.values()}
                for owner in owners.values():
                    if id(owner) not in kept:
                        await owner.close()

    async def _begin(self, consumer: Consumer, page: Page) -> None:
        """Complete what an intent covers, then read on behind it."""
        tp, loader = page.tp, self._loader
        position = await page.owner.position()
        bounds = await loader.log.bounds(tp)
        begin = position.offset if position else bounds.begin
        # an intent beyond the end is of a log that is gone: reading on tells so
        if position is not None and position.metadata and position.offset <= bounds.end:
            async with self._lock:  # the next owner must not repair the same rows beside us
                if tp not in self._fresh:
                    return  # taken away meanwhile
                begin = await self._repair(page, position, bounds.begin)
        if tp not in self._fresh:
            return
        self._fresh.remove(tp)
        self._pages[tp], self._next[tp] = page, begin
        consumer.seek(tp, begin)

    async def _repair(self, page: Page, position: Position, oldest: int) -> int:
        """Complete the stretch of an intent; the offset after it."""
        tp, loader = page.tp, self._loader
        end = int(orjson.loads(position.metadata)["to"])
        begin = max(position.offset, oldest)
        if begin > position.offset:
            LOST_RECORDS.labels(tp.topic, str(tp.partition)).inc(begin - position.offset)
            logger.error(
                "%s[%d]: retention removed %d to %d before they were verified", *tp, position.offset, begin
            )
        portion = Portion(tp, begin, end, before=page.before)
        at = begin
        while at < end:
            batch = await loader.log.read(tp, at, max_bytes=POLL_BYTES)
            portion.take([record for record in batch.records if record.offset < end])
            if batch.next_offset <= at:
                break
            at = batch.next_offset
        portion.end = end = min(
            end, at
        )  # not beyond what is there: a replaced log may be shorter than the intent
        logger.info("destination %s: verifying %s[%d] from %d to %d", loader.name, *tp, begin, end)
        prepared = await loader.work(partial(loader.prepare, [portion]))
        async with loader.step:
            await loader.work(partial(loader.insert, prepared, repair=True))
            await loader.finish(page, prepared[0])
        return end
