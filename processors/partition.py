"""One input partition in the hands of its owner: claim, state, chain, totals, and the transaction that binds them.

Opening follows a fixed order: raise the fence, read the committed position, read the newest totals, open the state, fold
the outputs it has not seen. Whatever instant the previous owner died at, the state then equals the outputs, and the
position is the one they were committed with. Anything that goes wrong later throws this object away and opens anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headwater import timestamps
from headwater.clock import Clock
from headwater.log.protocol import Batch, Log, Owner, Position, Record, TopicPartition, Transaction
from headwater.log.topics import ACCEPTED, DROPPED, PROCESSED, PROCESSOR_GROUP, PROFILES, TOTALS, partition_of
from headwater.state.protocol import StateStore
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace
from processors import batch, fold, totals
from processors.chain import Chain
from processors.dedupe import DAY_MS, Memory
from processors.profiles import Profiles
from processors.rebuild import Rebuild, finished
from processors.totals import Totals, Triple

FLUSH_KEYS = 65_536  # fingerprints held in RAM before they are written to the state
FLUSH_S = 30.0  # or this long
FOLLOW_S = 0.25  # how often profiles of other partitions are read, at most

Builder = Callable[[Workspace, Memory, Profiles, Counter[Triple]], Chain]
OpenState = Callable[[int, str], StateStore]  # partition, log id

_log = logging.getLogger("headwater.processors")


@dataclass(frozen=True, slots=True)
class Resources:
    """What every partition of a worker shares."""

    live: LiveWorkspace
    log: Log
    clock: Clock
    build: Builder
    open_state: OpenState
    discard_state: Callable[[int, str], None]


class Partition:
    """The owner's side of one partition; make it with `Partition.open`. Not for concurrent use."""

    def __init__(
        self, number: int, resources: Resources, owner: Owner, state: StateStore, counted: Totals
    ) -> None:
        self.number = number
        self.tp = TopicPartition(ACCEPTED, number)
        self._use = resources
        self._owner = owner
        self._state = state
        self._totals = counted
        self._memory = Memory(state.seen)
        self._profiles = Profiles(
            *(state.table(name) for name in ("links", "users", "accounts", "memberships"))
        )
        self._bots: Counter[Triple] = Counter()
        self._folded: dict[TopicPartition, int] = {}
        self._chain: Chain | None = None
        self._version = 0
        self._flushed_at = resources.clock.monotonic()
        self._followed_at = self._flushed_at
        self._commit: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, number: int, use: Resources) -> tuple[Partition, Position | None]:
        """Claim, read, open, fold. Raises LogError or StateError; nothing stays open then."""
        owner = await _claim(number, use.log)
        try:
            position = await owner.position()
            counted = await _newest_totals(use.log, number) or await _first_totals(owner, number)
            state = await _open_state(number, use, counted.log)
        except BaseException:
            await owner.close()
            raise
        try:
            partition = cls(number, use, owner, state, counted)
        except BaseException:
            state.close()
            await owner.close()
            raise
        try:
            await partition._fold()
        except BaseException:
            await partition.abandon()
            raise
        return partition, position

    async def _fold(self) -> None:
        log = self._use.log
        rebuild = await Rebuild.begin(
            self.number,
            self._use.clock,
            log,
            {tp: self._state.folded(tp) for tp in _outputs(self.number, log)},
        )
        try:
            for topic, take in ((PROCESSED, fold.processed), (DROPPED, fold.dropped)):
                tp = TopicPartition(topic, self.number)
                async for records, offset in fold.records(log, tp, self._state.folded(tp)):
                    for record in records:
                        take(record, self._memory)
                    self._folded[tp] = offset
                    rebuild.reached(tp, offset)
                    if len(self._memory.pending) >= FLUSH_KEYS:
                        await self._flush()
            await self._follow(self._settle_profiles, rebuild)
            await self._settle_profiles()
        finally:
            rebuild.end()

    async def _settle_profiles(self) -> None:
        await self._publish_merges()
        await self._flush()

    async def _publish_merges(self) -> None:
        """Where two processors learned different things of one key, the log's last record must hold both."""
        if learned := self._profiles.drain_records():
            transaction = self._owner.begin()
            self._append_profiles(transaction, learned)
            await finished(transaction.commit())

    async def _follow(
        self, after_read: Callable[[], Awaitable[None]] | None = None, rebuild: Rebuild | None = None
    ) -> None:
        """Fold what all processors have learned of people and accounts since the last time.

        A rebuild may read millions of rows: `after_read` writes them down, so that they are not all held at once.
        """
        self._followed_at = self._use.clock.monotonic()
        log = self._use.log
        for number in range(log.partitions(PROFILES)):
            tp = TopicPartition(PROFILES, number)
            start = self._folded.get(tp, self._state.folded(tp))
            async for records, offset in fold.records(log, tp, start):
                for record in records:
                    self._profiles.fold(record.key or b"", record.value)
                self._folded[tp] = offset
                if rebuild is not None:
                    rebuild.reached(tp, offset)
                if after_read is not None:
                    await after_read()

    async def process(self, fetched: Batch) -> None:
        """Send a batch through the chain and start committing it; returns while the commit is under way.

        Raises Fenced, LogUnavailable or StateError, also of the batch before; the caller then abandons the partition.
        """
        if self.flush_due():
            await self.flush()
        if self._use.log.partitions(PROFILES) > 1 and self._since(self._followed_at) >= FOLLOW_S:
            await self._follow()
        output = batch.work(fetched.records, self._current_chain(), timestamps.iso(self._use.clock.now_ms()))
        output.counts.bots.update(self._bots)
        self._bots.clear()
        learned = self._profiles.drain_records()
        await self.settle()
        self._totals.add(output.counts)
        transaction = self._gather(output, learned, fetched)
        self._commit = asyncio.create_task(self._finish(transaction, output))
        await asyncio.sleep(0)  # lets the commit reach its thread before the next batch takes the processor

    def _current_chain(self) -> Chain:
        if self._chain is None or self._version != self._use.live.version:
            self._version = self._use.live.version
            self._chain = self._use.build(self._use.live.current, self._memory, self._profiles, self._bots)
        return self._chain

    def _gather(self, output: batch.Output, learned: list[Record], fetched: Batch) -> Transaction:
        transaction = self._owner.begin()
        for topic, lines in ((PROCESSED, output.processed), (DROPPED, output.dropped)):
            if lines:
                transaction.append(topic, self.number, list(batch.records_of(lines)))
        self._append_profiles(transaction, learned)
        transaction.append(TOTALS, 0, [self._totals.record()])
        transaction.advance(self.tp, Position(fetched.next_offset))
        return transaction

    def _append_profiles(self, transaction: Transaction, learned: list[Record]) -> None:
        by_partition: dict[int, list[Record]] = {}
        count = self._use.log.partitions(PROFILES)
        for record in learned:
            key = (record.key or b"").decode("utf-8", "surrogatepass")
            by_partition.setdefault(partition_of(key, count), []).append(record)
        for number, records in by_partition.items():
            transaction.append(PROFILES, number, records)

    async def _finish(self, transaction: Transaction, output: batch.Output) -> None:
        ends = await transaction.commit()
        others_write_profiles = self._use.log.partitions(PROFILES) > 1
        for tp, end in ends.items():
            if tp.topic in (PROCESSED, DROPPED) or (tp.topic == PROFILES and not others_write_profiles):
                self._folded[tp] = end
        totals.publish(output.counts)
        for sentence, times in output.faults.items():
            _log.error("%s; %d events kept in %s", sentence, times, DROPPED)

    async def settle(self) -> None:
        """Wait for the commit under way, if any; raises what it raised."""
        if self._commit is not None:
            commit, self._commit = self._commit, None
            await commit

    @property
    def busy(self) -> bool:
        """Whether a commit has been started and not waited for."""
        return self._commit is not None

    def flush_due(self) -> bool:
        """Whether the state should be written now."""
        return len(self._memory.pending) >= FLUSH_KEYS or (
            bool(self._folded) and self._since(self._flushed_at) >= FLUSH_S
        )

    async def flush(self) -> None:
        """Write the state up to the last commit, together with the offsets it reflects."""
        await self.settle()
        await self._flush()

    async def _flush(self) -> None:
        self._flushed_at = self._use.clock.monotonic()
        if not self._folded:
            return
        folded, self._folded = self._folded, {}
        window = self._use.live.current.processors.dedupe.window_days
        horizon = self._memory.horizon(window, self._use.clock.now_ms() // DAY_MS)
        writing = asyncio.to_thread(
            self._state.commit,
            puts=self._profiles.drain_puts(),
            seen=self._memory.drain().items(),
            folded=folded,
            expire_before_day=horizon,
        )
        await finished(writing)  # the state may be closed by whoever cancels us

    def _since(self, moment: float) -> float:
        return self._use.clock.monotonic() - moment

    async def close(self) -> None:
        """Finish what is under way, write the state, give the claim up. Raises as `process` does; all is closed then."""
        try:
            await self.flush()
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Throw away what is in memory; the state stays at its last commit."""
        if self._commit is not None:
            commit, self._commit = self._commit, None
            await asyncio.wait([commit])
            if not commit.cancelled():
                commit.exception()
        self._state.close()
        await self._owner.close()


async def _claim(number: int, log: Log) -> Owner:
    """The claim; one that came although we were cancelled meanwhile is given up."""
    claiming = asyncio.ensure_future(log.claim(PROCESSOR_GROUP, TopicPartition(ACCEPTED, number)))
    try:
        return await finished(claiming)
    except asyncio.CancelledError:
        if not claiming.cancelled() and claiming.exception() is None:
            await claiming.result().close()
        raise


def _outputs(number: int, log: Log) -> list[TopicPartition]:
    """What the state of a partition is a fold of."""
    own = [TopicPartition(PROCESSED, number), TopicPartition(DROPPED, number)]
    return [*own, *(TopicPartition(PROFILES, n) for n in range(log.partitions(PROFILES)))]


async def _newest_totals(log: Log, number: int) -> Totals | None:
    newest: bytes | None = None
    key = totals.key_of(number)
    async for records, _ in fold.records(log, TopicPartition(TOTALS, 0), 0):
        for record in records:
            if record.key == key:
                newest = record.value
    return totals.decode(newest) if newest else None


async def _first_totals(owner: Owner, number: int) -> Totals:
    """Start counting: the log's id must be durable before any state is bound to it."""
    first = totals.fresh(number)
    transaction = owner.begin()
    transaction.append(TOTALS, 0, [first.record()])
    await finished(transaction.commit())
    return first


async def _open_state(number: int, use: Resources, log_id: str) -> StateStore:
    state = use.open_state(number, log_id)
    try:
        ahead = await _ahead(number, use.log, state)
    except BaseException:
        state.close()  # a folder can be open only once in a process
        raise
    if not ahead:
        return state
    state.close()
    use.discard_state(number, ahead)
    return use.open_state(number, log_id)


async def _ahead(number: int, log: Log, state: StateStore) -> str:
    """Why the state cannot be of this log: it has folded what the log does not hold. Empty where it has not."""
    for tp in _outputs(number, log):
        folded, end = state.folded(tp), (await log.bounds(tp)).end
        if folded > end:
            return f"it had folded {tp.topic}[{tp.partition}] up to {folded}, the log ends at {end}"
    return ""
