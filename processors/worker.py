"""The processor stage: owns partitions, reads what was accepted, commits what came of it. Exactly once.

The worker joins the group, opens the partitions it is assigned (`processors.partition`) and feeds them. Opening may mean to
read days of the log again, so it happens beside: the others go on, the consumer keeps polling, and a partition that is
taken away in the middle is let go at once. While one batch is being committed, which is waiting for a disk, the next one
goes through the chain. When the log or the disk fails, or a newer owner has raised its fence, what is in memory is thrown
away: everything that matters is in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from headwater import metrics
from headwater.clock import Clock
from headwater.errors import Fenced, LogUnavailable, OffsetOutOfRange, SchemaMismatch, StateError
from headwater.log.protocol import Batch, Consumer, Log, Position, TopicPartition
from headwater.log.topics import ACCEPTED, PROCESSOR_GROUP
from headwater.paths import DataDir
from headwater.state import lmdb
from headwater.state.protocol import StateStore
from headwater.workspace.live import LiveWorkspace
from processors.build import build
from processors.partition import Partition, Resources

POLL_BYTES = 4 << 20
IDLE_S = 5.0  # how long to wait for events before looking at timers
BUSY_S = 0.02  # the same while a commit is under way, whose failure must be noticed
LAG_S = 5.0  # how often the lag is measured
OPENING_S = 1.0  # how long to wait for partitions that are being opened, while there is nothing else to do
OPENINGS = 2  # partitions opened at the same time
BACKOFF_S = (0.1, 5.0)  # first and longest pause after a failure

T = TypeVar("T")
Opened = tuple[Partition, Position | None]
_log = logging.getLogger("headwater.processors")


class Worker:
    """The partitions of one process; also the listener of its consumer."""

    def __init__(self, resources: Resources, stop: asyncio.Event) -> None:
        self._use = resources
        self._stop = stop
        self._open: dict[TopicPartition, Partition] = {}
        self._opening: dict[TopicPartition, asyncio.Task[Opened]] = {}
        self._openings = asyncio.Semaphore(OPENINGS)
        self._fenced: set[TopicPartition] = set()
        self._turn = asyncio.Lock()  # a partition is not taken away in the middle of a batch
        self._lag_at = float("-inf")
        self._told: set[TopicPartition] = set()  # whose lag this process last told

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """These are ours; they are opened by the next turn."""
        self._fenced.difference_update(partitions)

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finish what is under way, write the state, let go."""
        async with self._turn:
            for tp in partitions:
                await self._give_up(tp)
                await self._close(tp)

    async def run(self, consumer: Consumer) -> None:
        """Process until told to stop; failures of log and disk are waited out."""
        pause = BACKOFF_S[0]
        while not self._stop.is_set():
            try:
                await self._once(consumer)
                pause = BACKOFF_S[0]
            except (LogUnavailable, OffsetOutOfRange, StateError) as error:
                if isinstance(error, SchemaMismatch):
                    raise
                _log.error("processing waits %.1f s and starts again from the log: %s", pause, error)
                await self._abandon_all()
                await _until(self._stop, asyncio.sleep(pause))
                pause = min(pause * 2, BACKOFF_S[1])
        await self.close()

    async def _once(self, consumer: Consumer) -> None:
        async with self._turn:
            self._begin(consumer)
        await self._wait_for_openings()
        async with self._turn:
            await self._adopt(consumer)
            for partition in list(self._open.values()):
                if partition.flush_due():
                    await self._guard(partition, partition.flush())
        await self._measure()
        fetched = await self._poll(consumer, self._patience())
        if not fetched:
            async with self._turn:
                for partition in list(self._open.values()):
                    await self._guard(partition, partition.settle())
        for batch in fetched:
            async with self._turn:
                if consumer.is_current(batch) and (owned := self._open.get(batch.tp)) is not None:
                    await self._guard(owned, owned.process(batch))

    def _patience(self) -> float:
        """How long a poll may wait: not long where something else is about to need us."""
        busy = self._opening or any(partition.busy for partition in self._open.values())
        return BUSY_S if busy else IDLE_S

    def _begin(self, consumer: Consumer) -> None:
        """Start opening what is assigned; nothing of it is fetched meanwhile."""
        for tp in sorted(consumer.assignment() - self._open.keys() - self._opening.keys() - self._fenced):
            self._opening[tp] = asyncio.create_task(self._opened(tp.partition), name=f"open {tp.partition}")
        consumer.pause(self._opening.keys() & consumer.assignment())

    async def _opened(self, number: int) -> Opened:
        async with self._openings:
            return await Partition.open(number, self._use)

    async def _wait_for_openings(self) -> None:
        """Where nothing else is to be done, until one of the openings has ended, but not so long that polling is missed."""
        if self._opening and not self._open:
            openings = list(self._opening.values())  # a revocation may empty the table meanwhile
            first = asyncio.wait(openings, timeout=OPENING_S, return_when=asyncio.FIRST_COMPLETED)
            await _until(self._stop, first)

    async def _adopt(self, consumer: Consumer) -> None:
        """Go on with the partitions that have been opened. Raises what an opening raised, but Fenced."""
        for tp in [tp for tp, opening in self._opening.items() if opening.done()]:
            try:
                self._open[tp], position = await self._opening.pop(tp)
            except Fenced as fenced:
                self._lost(tp, fenced)
                continue
            start = position.offset if position else (await self._use.log.bounds(tp)).begin
            try:
                consumer.seek(tp, start)
                consumer.resume([tp])
            except Fenced:  # taken away just now
                await self._close(tp)

    async def _poll(self, consumer: Consumer, timeout: float) -> list[Batch]:
        try:
            return await _until(self._stop, consumer.poll(max_bytes=POLL_BYTES, timeout=timeout)) or []
        except OffsetOutOfRange as gap:
            # Retention keeps what we have not read, so this is a log that lost its beginning, or one that was replaced.
            # Going on with all that is there is what can be done: what was processed before, dedupe drops. The error and
            # the counter say what is missing.
            _log.error("accepted events were lost before they were processed: %s", gap)
            metrics.LOST_RECORDS.labels(gap.topic, str(gap.partition)).inc(max(0, gap.begin - gap.offset))
            with contextlib.suppress(Fenced):  # taken away just now: its next owner finds the same gap
                consumer.seek(TopicPartition(gap.topic, gap.partition), gap.begin)
            return []

    async def _guard(self, partition: Partition, step: Awaitable[None]) -> None:
        """Run a step of a partition; one that has another owner is thrown away and left alone until assigned again."""
        try:
            await step
        except Fenced as fenced:
            self._lost(partition.tp, fenced)
            self._open.pop(partition.tp, None)
            await partition.abandon()

    def _lost(self, tp: TopicPartition, fenced: Fenced) -> None:
        _log.warning("%s", fenced)
        self._fenced.add(tp)

    async def _measure(self) -> None:
        if self._use.clock.monotonic() - self._lag_at < LAG_S:
            return
        self._lag_at = self._use.clock.monotonic()
        for lag in await self._use.log.lag(PROCESSOR_GROUP, [ACCEPTED]):
            if lag.tp in self._open or lag.tp in self._opening:
                metrics.PROCESSOR_LAG.labels(str(lag.tp.partition)).set(lag.events)
                self._told.add(lag.tp)
        # another process tells it now; the sum over all must stay right
        for tp in self._told - self._open.keys() - self._opening.keys():
            metrics.PROCESSOR_LAG.labels(str(tp.partition)).set(0)
            self._told.remove(tp)

    async def _give_up(self, tp: TopicPartition) -> None:
        """End an opening, however far it is; what it has folded so far is kept in the state."""
        if (opening := self._opening.pop(tp, None)) is None:
            return
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled() and opening.exception() is None:  # it had just ended
            await opening.result()[0].abandon()

    async def _close(self, tp: TopicPartition) -> None:
        if (partition := self._open.pop(tp, None)) is None:
            return
        try:
            await partition.close()
        except (Fenced, LogUnavailable, StateError) as error:
            _log.warning("%s[%d] is given up without its last step, which is repeated: %s", *tp, error)

    async def _abandon_all(self) -> None:
        async with self._turn:
            for tp in list(self._opening):
                await self._give_up(tp)
            while self._open:
                _, partition = self._open.popitem()
                await partition.abandon()

    async def close(self) -> None:
        """Finish and let go of every partition."""
        async with self._turn:
            for tp in list(self._opening):
                await self._give_up(tp)
            for tp in list(self._open):
                await self._close(tp)


async def _joined(log: Log, worker: Worker, stop: asyncio.Event) -> Consumer | None:
    """A member of the group, as soon as the log answers; None where told to stop before."""
    pause = BACKOFF_S[0]
    while not stop.is_set():
        try:
            return await _until(stop, log.consumer(PROCESSOR_GROUP, [ACCEPTED], worker))
        except LogUnavailable as error:
            _log.error("processing begins when the log answers, next attempt in %.1f s: %s", pause, error)
            await _until(stop, asyncio.sleep(pause))
            pause = min(pause * 2, BACKOFF_S[1])
    return None


async def _until(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """The result of `work`, or None where `stop` is set first (then `work` is cancelled)."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for pending in (task, stopped):
            pending.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def run(live: LiveWorkspace, log: Log, data: DataDir, clock: Clock, stop: asyncio.Event) -> None:
    """Process until `stop` is set. Raises SchemaMismatch for a state folder of another version."""

    def open_state(number: int, log_id: str) -> StateStore:
        return lmdb.open_state(data.state / str(number), log_id)

    def discard_state(number: int, why: str) -> None:
        lmdb.discard(data.state / str(number), why)

    await serve(Resources(live, log, clock, build, open_state, discard_state), stop)


async def serve(resources: Resources, stop: asyncio.Event) -> None:
    """As `run`, with every resource given."""
    worker = Worker(resources, stop)
    consumer: Consumer | None = None
    try:
        consumer = await _joined(resources.log, worker, stop)
        if consumer is not None:
            await worker.run(consumer)
    finally:
        await worker.close()
        if consumer is not None:
            await consumer.close()
