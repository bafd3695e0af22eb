"""A log whose appends go to a bounded spool on disk while the log itself takes none, and are drained in order afterwards.

Only the collector's log is opened through it, and only `append` is special. As long as the log answers, nothing touches
the disk. The first append that fails, or that is not answered within `HOLD_S`, goes to the spool, and from then on all of
them do, behind it: the order of a partition is kept. A drainer moves the oldest batches to the log, tries again with growing
pauses while that fails, and hands over when nothing is left.

An append that was not answered may have been written all the same, and a crash between an append and the cursor's sync
repeats one group: both are duplicates, which dedupe removes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TypeVar

from headwater.clock import Clock
from headwater.errors import LogError, LogUnavailable
from headwater.log.protocol import (
    Batch,
    Bounds,
    Consumer,
    Entry,
    Lag,
    Listener,
    Log,
    Owner,
    Position,
    TopicPartition,
)
from headwater.log.spool_store import Group, Store
from headwater.log.topics import spec_of
from headwater.metrics import SPOOL_BYTES, SPOOL_DRAINED, SPOOL_OLDEST, SPOOLED_EVENTS

logger = logging.getLogger(__name__)

T = TypeVar("T")

HOLD_S = (
    2.0  # a request waits so long for a log that is silent; while the spool is in use it does not wait at all
)
QUICK_S = 0.5  # a log that took the last group in this time is well enough to be handed over to
DRAIN_S = 30.0  # the drainer waits so long for one group: no client waits for it
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
GRACE_S = 5.0  # on closing, what moves is moved for so long; the rest stays for the next start


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What `/ready` and the metrics tell. `refusing`: why the last append that came to the spool was not kept."""

    spooling: bool
    bytes: int
    capacity: int
    oldest_s: float
    refusing: str


class SpooledLog:
    """A `Log` (see `headwater.log.protocol.Log`) that goes on acknowledging while `inner` takes nothing."""

    def __init__(
        self, inner: Log, store: Store, clock: Clock, partitions: int, held: Callable[[], str] = str
    ) -> None:
        """`partitions` is the workspace's `log.partitions`: asked for while `inner` cannot be opened yet.

        `held` says why it is not to be opened yet, nothing where it may.
        """
        self._held = held
        self._inner, self._store, self._clock, self._partitions = inner, store, clock, partitions
        self._disk = ThreadPoolExecutor(1, "spool")
        self._opened = self._closed = self._direct = self._told = False
        self._door = asyncio.Event()  # closed for a moment while the last batches are handed over
        self._spooling = asyncio.Event()
        self._settled = asyncio.Event()  # nothing to drain, or the last attempt failed
        self._waiting: list[tuple[Sequence[Entry], asyncio.Future[None]]] = []
        self._keeping: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._reason = self._refusing = ""
        self._pause_s = FIRST_PAUSE_S

    async def __aenter__(self) -> Self:
        """Open the spool, then the log. One that cannot be opened now is opened later; until then all goes to the spool."""
        try:
            await self._do(self._store.open)
            await self._open_now_or_later()
        except BaseException:
            await self._do(self._store.abandon)
            self._disk.shutdown()
            raise
        if not self._store.empty:
            logger.warning(
                "%s holds %d bytes of acknowledged events from before; they go to the log first",
                self._store.folder.path,
                self._store.bytes,
            )
        if self._opened and self._store.empty:
            self._go_direct()
        else:
            self._spooling.set()
        self._door.set()
        self._measure()
        self._draining = asyncio.create_task(self._drain())
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Keep what is on its way, drain what moves within `GRACE_S`, and close both."""
        self._closed = True
        self._door.set()
        if self._keeping is not None:
            await asyncio.wait({self._keeping})
        await self._drain_at_the_end()
        await self._stop()
        try:
            await self._do(self._store.close)
        except OSError as error:
            logger.warning("%s cannot be closed: %s", self._store.folder.path, error)
        self._disk.shutdown()
        if not self._store.empty:
            logger.warning(
                "leaving %d bytes of acknowledged events in %s: the next start of the collector drains them",
                self._store.bytes,
                self._store.folder.path,
            )
        if self._opened:
            await self._inner.__aexit__(*exc)

    async def abandon(self) -> None:
        """Die as a killed process would: nothing more is kept, drained or written down."""
        self._closed = True
        self._door.set()
        await self._stop()
        await self._do(self._store.abandon)
        self._disk.shutdown()

    @property
    def state(self) -> SpoolState:
        """How the spool stands."""
        return SpoolState(
            not self._direct,
            self._store.bytes,
            self._store.capacity,
            self._oldest_s(),
            self._refusing,
        )

    async def append(self, entries: Sequence[Entry]) -> None:
        """Write records to the log or, while it takes none, to the spool; durable when this returns.

        Raises LogUnavailable when the spool is full or cannot be written either, ValueError for an unknown partition.
        """
        await self._door.wait()
        self._alive()
        if self._direct:
            try:
                async with asyncio.timeout(HOLD_S):
                    await self._inner.append(entries)
            except (LogUnavailable, TimeoutError) as error:
                self._cut_over(error)
            else:
                self._told = False
                return
        await self._keep(entries)

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return self._inner.partitions(topic) if self._opened else spec_of(topic, self._partitions).partitions

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener | None = None) -> Consumer:
        """Join a group."""
        return await self._log().consumer(group, topics, listener)

    async def claim(self, group: str, tp: TopicPartition) -> Owner:
        """Own a partition for a group."""
        return await self._log().claim(group, tp)

    async def bounds(self, tp: TopicPartition) -> Bounds:
        """First and next offset of the partition in the log; the spool is not counted."""
        return await self._log().bounds(tp)

    async def read(self, tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        """Committed records of the log."""
        return await self._log().read(tp, offset, max_bytes=max_bytes)

    async def wait(self, topics: Sequence[str], seconds: float) -> bool:
        """Sleep until something may have been written to the log."""
        return await self._log().wait(topics, seconds)

    async def lag(self, group: str, topics: Sequence[str]) -> list[Lag]:
        """How far a group is behind in the log."""
        return await self._log().lag(group, topics)

    async def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """A group's stored position."""
        return await self._log().committed(group, tp)

    async def forget_group(self, group: str) -> None:
        """Remove a group's positions."""
        await self._log().forget_group(group)

    def _log(self) -> Log:
        if not self._opened:
            raise LogUnavailable(f"the log could not be opened yet: {self._reason}")
        return self._inner

    def _alive(self) -> None:
        if self._closed:
            raise LogUnavailable("the log is closing; nothing more is taken")

    def _known(self, entry: Entry) -> None:
        if not 0 <= entry.partition < (have := self.partitions(entry.topic)):
            raise ValueError(
                f"{entry.topic} has partitions 0 to {have - 1}, not {entry.partition}; see log.partitions"
            )

    def _cut_over(self, error: Exception) -> None:
        """From now on everything goes to the spool."""
        self._reason = str(error) or f"it did not answer within {HOLD_S:g} s"
        if not self._told:
            logger.error("the log takes no events: %s; they are kept on disk meanwhile", self._reason)
        self._direct, self._told = False, True
        self._spooling.set()
        self._settled.clear()

    def _go_direct(self) -> None:
        """From now on everything goes to the log; a reason to refuse is over."""
        self._direct, self._refusing = True, ""
        self._spooling.clear()
        self._settled.set()

    async def _keep(self, entries: Sequence[Entry]) -> None:
        """Write to the spool; calls that come during a write share the next one."""
        for entry in entries:
            self._known(entry)
        self._alive()
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, told))
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep_waiting())
        await told

    async def _keep_waiting(self) -> None:
        try:
            while batch := self._waiting:
                self._waiting = []
                error: LogError | None = LogUnavailable("the log is closing; this was not kept")
                try:
                    error = await self._kept([entry for entries, _ in batch for entry in entries])
                finally:
                    _tell([told for _, told in batch], error)
        finally:
            self._keeping = None

    async def _kept(self, entries: list[Entry]) -> LogError | None:
        try:
            await self._do(self._store.append, entries)
        except LogUnavailable as error:
            if not self._refusing:
                logger.error("clients are told to retry (503): %s", error)  # noqa: TRY400 - a full disk is no defect
            self._refusing = str(error)
            return error
        except Exception as error:  # the supervisor of the spool: nobody may wait for ever
            logger.exception("the spool failed in a way it does not declare")
            return LogUnavailable(f"the spool failed: {type(error).__name__}")
        self._refusing = ""
        SPOOLED_EVENTS.inc(sum(entry.record.events for entry in entries))
        self._measure()
        return None

    async def _drain(self) -> None:
        """Move batches to the log whenever there are some; for the life of this log."""
        while True:
            await self._spooling.wait()
            try:
                await self._step()
            except (LogError, OSError) as error:  # TimeoutError is one of the latter, and has no text
                await self._pause(error)
            except Exception as error:  # the supervisor of the drainer: what it holds may not be forgotten
                logger.exception("the spool cannot be drained; it will be tried again")
                await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        self._reason = str(error) or "it does not answer"
        self._settled.set()
        self._measure()
        logger.warning(
            "the spool cannot be drained now: %s; next attempt in %g s", self._reason, self._pause_s
        )
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s)

    async def _step(self) -> None:
        if not self._opened:
            await self._open_inner()
        began = _now()
        group = await self._move(DRAIN_S)
        if group is not None:
            self._pause_s, self._told = FIRST_PAUSE_S, False
            self._settled.clear()
            if group.whole and _now() - began < QUICK_S:
                await self._hand_over()
        elif self._keeping is not None:
            await asyncio.wait({self._keeping})
        elif (
            self._store.empty
        ):  # nothing could be kept, or a start that found nothing: only an append can tell more
            self._go_direct()

    async def _open_now_or_later(self) -> None:
        try:
            await self._open_inner()
        except LogUnavailable as error:
            self._cut_over(error)

    async def _open_inner(self) -> None:
        if why := self._held():
            raise LogUnavailable(why)
        await self._inner.__aenter__()
        self._opened = True

    async def _move(self, limit_s: float) -> Group | None:
        """Move the oldest group to the log; None where there is none. Raises LogError and OSError."""
        group = await self._do(self._store.group)
        if group is None:
            return None
        async with asyncio.timeout(limit_s):
            await self._inner.append(group.entries)
        await self._do(self._store.advance, group.until)
        SPOOL_DRAINED.inc(group.events)
        self._measure()
        return group

    async def _hand_over(self) -> None:
        """Let new appends wait for a moment, move what has come meanwhile, then let them go to the log directly."""
        self._door.clear()
        try:
            give_up = _now() + HOLD_S
            while not self._store.empty or self._keeping is not None:
                if self._keeping is not None:
                    await asyncio.wait({self._keeping})
                await self._move(give_up - _now())
            self._go_direct()
            logger.info("the log takes events again, and the spool is empty")
        finally:
            self._door.set()

    async def _drain_at_the_end(self) -> None:
        """Wait until nothing is left, the log does not answer, or the grace period is over."""
        try:
            async with asyncio.timeout(GRACE_S):
                await self._settled.wait()
        except TimeoutError:
            return

    async def _stop(self) -> None:
        for task in (self._draining, self._keeping):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        _tell([told for _, told in self._waiting], LogUnavailable("the log is closing; this was not kept"))

    def _oldest_s(self) -> float:
        oldest = self._store.oldest_ms
        return max(0.0, (self._clock.now_ms() - oldest) / 1000) if oldest else 0.0

    def _measure(self) -> None:
        SPOOL_BYTES.set(self._store.bytes)
        SPOOL_OLDEST.set(self._oldest_s())

    def _do(self, work: Callable[..., T], *arguments: object) -> Awaitable[T]:
        """Something with the disk, in the one thread that does so."""
        return asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)


def _tell(waiting: Sequence[asyncio.Future[None]], error: LogError | None) -> None:
    for told in waiting:
        if told.done():  # whoever waited was cancelled
            continue
        if error is None:
            told.set_result(None)
        else:
            told.set_exception(error)


def _now() -> float:
    return asyncio.get_running_loop().time()
