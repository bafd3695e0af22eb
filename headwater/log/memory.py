"""The log in memory: the whole protocol, for tests that need to stop, fail or kill the log at a chosen instant.

`MemoryStore` is the disk: it outlives crashes and may be opened by several `MemoryLog`s at once, as several processes
would. Like Kafka it leaves a gap in the offsets after each transaction, so that nobody learns to count offsets.

    log = MemoryLog(partitions=2)
    log.faults.fail("append")             # the next append raises LogUnavailable
    log.faults.hold()                     # writes stay on their way ...
    await log.crash(); log = log.reopen() # ... and are lost, as nobody was told that they were durable
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self, TypeVar

from msgspec.structs import replace

from headwater.clock import Clock, SystemClock
from headwater.errors import Fenced, LogUnavailable, OffsetOutOfRange
from headwater.log.groups import Group, Member
from headwater.log.owner import Claim, GatheredTransaction
from headwater.log.protocol import (
    Batch,
    Bounds,
    Consumer,
    Entry,
    Lag,
    Listener,
    Owner,
    Position,
    Record,
    TopicPartition,
)
from headwater.log.signals import Signals
from headwater.log.topics import spec_of

T = TypeVar("T")
Operation = Literal["append", "commit", "transaction"]


@dataclass(slots=True)
class _Partition:
    """Records in offset order; `begin` and `end` as in `Bounds`."""

    records: list[Record] = field(default_factory=list)
    begin: int = 0
    end: int = 0

    def at(self, offset: int) -> int:
        """Index of the first record at or after the offset."""
        return bisect_left(self.records, offset, key=lambda record: record.offset)


class MemoryStore:
    """What survives a crash of a `MemoryLog`: records, positions, claims."""

    def __init__(self) -> None:
        self.parts: dict[TopicPartition, _Partition] = {}
        self.positions: dict[
            tuple[str, TopicPartition], Position | None
        ] = {}  # None: registered, never committed
        self.claims: dict[tuple[str, TopicPartition], int] = {}
        self.groups: dict[str, Group] = {}
        self.signals = Signals()

    def part(self, tp: TopicPartition) -> _Partition:
        """The partition, made when first asked for."""
        return self.parts.setdefault(tp, _Partition())


class Faults:
    """What shall go wrong, and when."""

    def __init__(self) -> None:
        self._planned: dict[Operation, deque[tuple[Exception, bool]]] = {}
        self._gate = asyncio.Event()
        self._gate.set()

    def fail(
        self, operation: Operation, *, times: int = 1, written: bool = False, error: Exception | None = None
    ) -> None:
        """Let the next operations raise; `written` stores the records all the same, as a lost answer would."""
        error = error or LogUnavailable(f"{operation}: failed on purpose")
        self._planned.setdefault(operation, deque()).extend([(error, written)] * times)

    def hold(self) -> None:
        """Let writes hang on their way to the disk until `release` or a crash."""
        self._gate.clear()

    def release(self) -> None:
        """Let held writes go on, in the order they came."""
        self._gate.set()

    async def passed(self, operation: Operation) -> tuple[Exception, bool] | None:
        """Wait at the gate; what was planned for this operation, if anything."""
        await self._gate.wait()
        planned = self._planned.get(operation)
        return planned.popleft() if planned else None


class MemoryLog:
    """A `Log` in memory (see `headwater.log.protocol.Log`), writer of every topic."""

    def __init__(
        self, partitions: int = 1, clock: Clock | None = None, store: MemoryStore | None = None
    ) -> None:
        self.disk = store or MemoryStore()
        self.faults = Faults()
        self._count, self._clock = partitions, clock or SystemClock()
        self._members: list[Member] = []
        self._crashed = False
        self._turn = asyncio.Lock()
        self._underway: list[Callable[[], object]] = []

    async def __aenter__(self) -> Self:
        """Open; nothing to do in memory."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Leave every group."""
        for member in list(self._members):
            await member.close()

    @property
    def signals(self) -> Signals:
        """Where writes are announced."""
        return self.disk.signals

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return spec_of(topic, self._count).partitions

    async def append(self, entries: Sequence[Entry]) -> None:
        """Write records; returns once all are `durable`, that is once no planned fault is in the way."""
        for entry in entries:
            self._known(TopicPartition(entry.topic, entry.partition))
        await self._durable("append", lambda: self._write(entries))

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener | None = None) -> Consumer:
        """Join a group, across every `MemoryLog` of the same store."""
        self._alive()
        await self.register(group, [TopicPartition(t, n) for t in topics for n in range(self.partitions(t))])
        joined = self.disk.groups.setdefault(group, Group(group))
        member = Member(joined, self, topics, listener)
        self._members.append(member)
        await joined.join(member)
        return member

    async def claim(self, group: str, tp: TopicPartition) -> Owner:
        """Own `tp` for `group`; every earlier owner is fenced from now on."""
        self._alive()
        self._known(tp)
        await self.register(group, [tp])
        epoch = self.disk.claims.get((group, tp), 0) + 1
        self.disk.claims[group, tp] = epoch
        return Claim(self, group, tp, epoch)

    async def bounds(self, tp: TopicPartition) -> Bounds:
        """First and next offset of the partition."""
        self._alive()
        self.signals.look(tp)
        part = self.disk.part(self._known(tp))
        return Bounds(part.begin, part.end)

    async def read(self, tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        """Committed records from `offset` on; empty at the end. Raises OffsetOutOfRange."""
        self._alive()
        self.signals.look(tp)
        part = self.disk.part(self._known(tp))
        if not part.begin <= offset <= part.end:
            raise OffsetOutOfRange(*tp, offset, part.begin, part.end)
        taken: list[Record] = []
        left = max_bytes
        for record in part.records[part.at(offset) :]:
            left -= len(record.value or b"")
            if taken and left < 0:
                return Batch(*tp, taken, taken[-1].offset + 1)
            taken.append(record)
        return Batch(*tp, taken, part.end)

    async def wait(self, topics: Sequence[str], seconds: float) -> bool:
        """Sleep until something was written (True) or the time is over (False)."""
        self._alive()
        return await self.signals.wait(topics, seconds)

    async def lag(self, group: str, topics: Sequence[str]) -> list[Lag]:
        """How far a group is behind, per partition."""
        self._alive()
        tps = [TopicPartition(topic, n) for topic in topics for n in range(self.partitions(topic))]
        return [self._lag(group, tp) for tp in tps]

    async def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """A group's stored position."""
        self._alive()
        return self.disk.positions.get((group, tp))

    async def store(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Store positions durably."""
        await self._durable("commit", lambda: self._advance(group, positions))

    async def register(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        """Remember that the group reads these."""
        for tp in partitions:
            self.disk.positions.setdefault((group, tp), None)

    async def forget_group(self, group: str) -> None:
        """Remove a group's positions and registrations; fence its owners."""
        self._alive()
        for tp in {tp for name, tp in (*self.disk.positions, *self.disk.claims) if name == group}:
            self.disk.positions.pop((group, tp), None)
            self.disk.claims[group, tp] = self.disk.claims.get((group, tp), 0) + 1

    def trim(self, tp: TopicPartition, before: int) -> None:
        """Remove the records below `before`, as retention would."""
        part = self.disk.part(tp)
        part.begin = max(part.begin, min(before, part.end))
        del part.records[: part.at(part.begin)]

    def compact(self, tp: TopicPartition, *, tombstones: bool = False) -> None:
        """Keep the last record of each key; with `tombstones`, forget deleted keys altogether."""
        part = self.disk.part(tp)
        last = {record.key: record for record in part.records}
        part.records = [
            record
            for record in part.records
            if last[record.key] is record and not (tombstones and record.value is None)
        ]

    async def crash(self, *, keep_unacknowledged: bool = False) -> None:
        """Die: every later call of this log raises LogUnavailable; writes on their way are lost.

        With `keep_unacknowledged` they reach the store, but whoever waits for them is not told so.
        Members of this log fall out of their groups without being asked.
        """
        if keep_unacknowledged:
            for apply in self._underway:
                with suppress(Fenced):  # a fenced transaction is refused, not written
                    apply()
        self._underway.clear()
        self._crashed = True
        self.faults.release()
        for group in {member.group for member in self._members}:
            await group.drop(self._members)
        self.signals.bump(list({tp.topic for tp in self.disk.parts}))

    def reopen(self) -> MemoryLog:
        """The log of the next process, on the same store."""
        return MemoryLog(self._count, self._clock, self.disk)

    def check_output(self, group: str, tp: TopicPartition) -> None:  # noqa: ARG002 - this log writes every topic
        """Raises ValueError for a partition that the topic does not have."""
        self._known(tp)

    async def commit_transaction(self, transaction: GatheredTransaction) -> dict[TopicPartition, int]:
        """Apply a transaction, unless its owner has been fenced meanwhile."""
        return await self._durable("transaction", lambda: self._apply(transaction))

    def _apply(self, transaction: GatheredTransaction) -> dict[TopicPartition, int]:
        claim = transaction.claim
        claim.check(self.disk.claims.get((claim.group, claim.tp), 0))
        self._write(transaction.entries)
        self._advance(claim.group, transaction.positions)
        written = {TopicPartition(topic, partition) for topic, partition, _ in transaction.entries}
        ends = {tp: self.disk.part(tp).end for tp in written}
        for tp in written:
            self.disk.part(tp).end += 1  # the commit marker, as in Kafka
        return ends

    async def _durable(self, operation: Operation, apply: Callable[[], T]) -> T:
        self._alive()
        self._underway.append(apply)
        try:
            async with self._turn:
                fault = await self.faults.passed(operation)
            self._alive()
            if fault is None:
                return apply()
            error, written = fault
            if written:
                apply()
            raise error
        finally:
            if apply in self._underway:
                self._underway.remove(apply)

    def _write(self, entries: Sequence[Entry]) -> None:
        for topic, partition, record in entries:
            part = self.disk.part(TopicPartition(topic, partition))
            stamp = record.timestamp or self._clock.now_ms()
            part.records.append(replace(record, offset=part.end, timestamp=stamp))
            part.end += 1
        self.signals.bump({entry.topic for entry in entries})

    def _advance(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        for tp, position in positions.items():
            self.disk.positions[group, tp] = position

    def _lag(self, group: str, tp: TopicPartition) -> Lag:
        part, stored = self.disk.part(tp), self.disk.positions.get((group, tp))
        offset = stored.offset if stored else part.begin
        unread = part.records[part.at(offset) :]
        oldest = unread[0].timestamp if unread else 0
        return Lag(tp, offset, part.end, sum(record.events for record in unread), oldest)

    def _known(self, tp: TopicPartition) -> TopicPartition:
        """The same partition. Raises ValueError for one that the topic does not have."""
        if not 0 <= tp.partition < (have := self.partitions(tp.topic)):
            raise ValueError(
                f"{tp.topic} has partitions 0 to {have - 1}, not {tp.partition}; see log.partitions"
            )
        return tp

    def _alive(self) -> None:
        if self._crashed:
            raise LogUnavailable("this log has crashed; go on with the one that reopen() returns")
