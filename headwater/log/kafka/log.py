"""The log of a cluster on Apache Kafka (see `headwater.log.protocol.Log`). Connects when it is first needed.

What a caller sees is what is committed: every read is `read_committed`. A process that starts while no broker answers
starts all the same, and each call raises LogUnavailable until one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Self

from headwater.clock import Clock, SystemClock
from headwater.errors import LogUnavailable
from headwater.log.kafka import owner
from headwater.log.kafka.appender import Appender, abandon
from headwater.log.kafka.cluster import LATEST, UNCOMMITTED, Cluster
from headwater.log.kafka.connection import RECORD_BYTES, Connection
from headwater.log.kafka.consumer import KafkaMember
from headwater.log.kafka.failures import reaching
from headwater.log.kafka.lag import lags
from headwater.log.kafka.topics import DECLARED, Topics
from headwater.log.kafka.watch import Watch
from headwater.log.owner import GatheredTransaction
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
from headwater.log.retention import Policy
from headwater.log.signals import Signals
from headwater.log.topics import DEAD_PREFIX, DESTINATION_TOTALS, TOTALS, spec_of
from headwater.workspace.model import KafkaLogSettings

QUEUE_BYTES = 64 << 20  # of records waiting for the brokers
SETTLE_S = 15.0
OWN_S, OWN_PAUSE_S = 1.0, 0.005
WHOLE_TOPICS = (TOTALS, DESTINATION_TOTALS, DEAD_PREFIX)  # and all that begin so
WHOLE_S, WHOLE_PAUSE_S = 45.0, 0.02  # a transaction's time, and the broker's between two looks

_log = logging.getLogger(__name__)


class KafkaLog:
    """A `Log` on Apache Kafka."""

    def __init__(
        self,
        settings: KafkaLogSettings,
        clock: Clock | None = None,
        *,
        policy: Callable[[], Policy] | None = None,
        queue_bytes: int = QUEUE_BYTES,
        process: str = "",
    ) -> None:
        """With a `policy`, missing topics are made; None reads what is there. `process` names it in the metrics."""
        self._settings, self._clock = settings, clock or SystemClock()
        self._signals = Signals()
        connection = Connection(settings)
        self._connection = connection
        self._topics = None if policy is None else Topics(connection, policy)
        self._cluster = Cluster(connection, "reader")
        self._watch = Watch(Cluster(connection, "watch"), self._signals)
        self._fences = owner.Fences(connection)
        self._appender = Appender(
            connection, self._clock, self._signals.bump, self._doubt, queue_bytes, process
        )
        self._members: set[KafkaMember] = set()
        self._ends: dict[TopicPartition, int] = {}  # of own transactions, not yet seen by a reader here
        self._claims: set[owner.KafkaClaim] = set()

    async def __aenter__(self) -> Self:
        """Open. Raises LogError where the topics do not fit the settings; brokers that are away are waited for later."""
        try:
            if self._topics is not None:
                await self._topics.ensure(DECLARED)
        except LogUnavailable as error:
            _log.warning("starting without the log: %s", error)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Leave every group, write what is queued, close."""
        try:
            for member in list(self._members):
                await member.close()
        finally:
            await self._close()

    async def _close(self) -> None:
        """Fences and claims first; each step also where the one before it failed or was cancelled."""
        async with contextlib.AsyncExitStack() as steps:
            steps.push_async_callback(self._cluster.close)
            steps.push_async_callback(self._watch.close)
            steps.push_async_callback(self._appender.close)
            steps.push_async_callback(self._let_go, "this log is closed")

    async def _let_go(self, why: str) -> None:
        claims = list(self._claims)
        for claim in claims:
            claim.over = why
        await asyncio.gather(self._fences.drop(), *(abandon(claim.producer) for claim in claims))

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return spec_of(topic, self._settings.partitions).partitions

    async def append(self, entries: Sequence[Entry]) -> None:
        """Write records; returns once all replicas in sync have them. Raises LogUnavailable."""
        by_partition: dict[TopicPartition, list[Record]] = {}
        for topic, number, record in entries:
            by_partition.setdefault(TopicPartition(topic, number), []).append(record)
        for tp, records in by_partition.items():
            self._check(tp, records)
        await self._exist(*by_partition)
        await self._appender.append(by_partition)

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener | None = None) -> Consumer:
        """Join a group. Raises LogUnavailable."""
        await self._exist(*(TopicPartition(topic, 0) for topic in topics))
        member = KafkaMember(self._connection, self._cluster, group, topics, listener, self)
        self._members.add(member)
        try:
            await member.join()
        except BaseException:
            self._members.discard(member)
            raise
        return member

    async def revoked(self, group: str) -> None:
        """A member of this process has given its partitions back."""
        await self._fences.drop(group)

    async def left(self, member: KafkaMember) -> None:
        """A member of this process has left: the others need not wait for their heartbeat to hear of it."""
        self._members.discard(member)
        for other in self._of(member.group):
            other.rejoin()
        await self.settle(member.group)

    async def settle(self, group: str) -> None:
        """Wait until every member of the group in this process has its share, as far as that comes soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await asyncio.gather(*(member.settled.wait() for member in self._of(group)))

    def _of(self, group: str) -> list[KafkaMember]:
        return [member for member in self._members if member.group == group]

    async def claim(self, group: str, tp: TopicPartition) -> Owner:
        """Own `tp` for `group`; every earlier owner's commits raise Fenced from now on. Raises LogUnavailable."""
        self._known(tp)
        await self._exist(tp)
        share = {other for member in self._of(group) for other in member.assignment()}
        held = {claim.tp for claim in self._claims if claim.group == group}
        producer = await self._fences.take(group, tp, share - held)

        async def stored() -> Position | None:
            return (await self._cluster.positions(group, [tp])).get(tp)

        claim = owner.KafkaClaim(self, group, tp, producer, stored, lambda: self._claims.discard(claim))
        self._claims.add(claim)
        return claim

    async def bounds(self, tp: TopicPartition) -> Bounds:
        """First offset, and the end of what is committed."""
        self._known(tp)
        await self._exist(tp)
        await self._own_writes(tp)
        await self._whole(tp)
        self._signals.look(tp)
        bounds = (await self._cluster.bounds([tp]))[tp]
        self._seen(tp, bounds.end)
        return bounds

    async def read(self, tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        """Committed records from `offset` on; empty at the end. Raises OffsetOutOfRange."""
        self._known(tp)
        await self._exist(tp)
        await self._own_writes(tp)
        self._signals.look(tp)
        found = await self._cluster.read(tp, offset, max_bytes)
        self._seen(tp, found.stable)
        with reaching(f"cannot unpack {tp.topic}[{tp.partition}]"):
            records = found.take(max_bytes)
        return Batch(*tp, records, found.offset)

    async def _whole(self, tp: TopicPartition) -> None:
        """Running totals and dead letters are read to the end or not at all.

        An owner that died may hide the newest totals, and what was decided about letters, behind its transaction.

        Its fence is raised soon, or the broker ends its transaction. Raises LogUnavailable where neither happens.
        """
        if not tp.topic.startswith(WHOLE_TOPICS) or self._topics is None:
            return
        written = (await self._cluster.offsets([tp], LATEST, UNCOMMITTED))[tp]
        give_up = asyncio.get_running_loop().time() + WHOLE_S
        while (await self._cluster.offsets([tp], LATEST))[tp] < written:
            if asyncio.get_running_loop().time() > give_up:
                raise LogUnavailable(
                    f"Kafka: a transaction stays open in {tp.topic}[{tp.partition}] for more than {WHOLE_S:.0f} s; "
                    "`kafka-transactions.sh find-hanging` tells which"
                )
            await asyncio.sleep(WHOLE_PAUSE_S)

    async def _own_writes(self, tp: TopicPartition) -> None:
        """What this process has committed it also sees: the broker ends a transaction a little after it has said so.

        An open transaction of somebody else may stand before it; that is not waited for long, and only once.
        """
        give_up = asyncio.get_running_loop().time() + OWN_S
        while (end := self._ends.get(tp)) is not None:
            late = asyncio.get_running_loop().time() > give_up
            if late or (await self._cluster.offsets([tp], LATEST))[tp] >= end:
                self._ends.pop(tp, None)
                return
            await asyncio.sleep(OWN_PAUSE_S)

    def _seen(self, tp: TopicPartition, end: int) -> None:
        """This task has seen all there is, unless something newer is known: then it is not to sleep over that."""
        if self._watch.observe(tp, end):
            self._signals.look(tp)

    async def wait(self, topics: Sequence[str], seconds: float) -> bool:
        """Sleep until something may have been written to one of the topics (True) or the time is over (False)."""
        self._watch.attend(topics, [self.partitions(topic) for topic in topics])
        try:
            return await self._signals.wait(topics, seconds)
        finally:
            self._watch.leave(topics)

    async def lag(self, group: str, topics: Sequence[str]) -> list[Lag]:
        """How far a group is behind, per partition; events are counted up to a bound and estimated past it."""
        tps = [TopicPartition(topic, n) for topic in topics for n in range(self.partitions(topic))]
        await self._exist(*tps)
        return await lags(self._cluster, group, tps)

    async def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """A group's stored position, seen from outside; `Owner.position` is the one to go by."""
        self._known(tp)
        return (await self._cluster.glimpse(group, [tp], OWN_S)).get(tp)

    async def forget_group(self, group: str) -> None:
        """Fence the group's owners and remove its positions. Raises LogUnavailable while it has members."""
        for tp in await self._cluster.positions(group, None):
            await abandon(await owner.raise_fence(self._connection, group, tp))
        await self._cluster.delete_group(group)

    def check_output(self, group: str, tp: TopicPartition) -> None:  # noqa: ARG002 - a transaction writes any topic
        """Raises ValueError for a partition that the topic does not have."""
        self._known(tp)

    async def commit_transaction(self, transaction: GatheredTransaction) -> dict[TopicPartition, int]:
        """Apply outputs and positions in one transaction. Raises Fenced or LogUnavailable."""
        claim = transaction.claim
        assert isinstance(claim, owner.KafkaClaim), "a transaction is committed by the log that began it"
        by_partition: dict[TopicPartition, list[Record]] = {}
        for topic, number, record in transaction.entries:
            by_partition.setdefault(TopicPartition(topic, number), []).append(record)
        for tp, records in by_partition.items():
            self._check(tp, records)
        await self._exist(*by_partition)
        prefix = self._settings.topic_prefix
        ends = await owner.commit(claim, by_partition, transaction.positions, prefix, self._clock, self)
        self._ends.update(ends)
        return ends

    def wrote(self, topics: Sequence[str]) -> None:
        """A transaction was committed."""
        self._signals.bump(topics)

    def refused(self, group: str) -> None:
        """An owner of this process was fenced: whether the partition is still ours, the group has to say."""
        for member in self._of(group):
            member.rejoin()

    async def crash(self) -> None:
        """Die as a killed process does: sockets close, nothing is said, finished or committed."""
        for member in list(self._members):
            await member.abandon()
        await self._let_go("this log has crashed")
        await self._appender.crash()
        await self._watch.close()
        await self._cluster.close()

    async def _exist(self, *tps: TopicPartition) -> None:
        if self._topics is not None:
            await self._topics.ensure({tp.topic for tp in tps})

    def _doubt(self, topic: str) -> None:
        """Somebody deleted a topic, or a broker does not know of it yet: whoever needs it next looks, and makes it anew."""
        if self._topics is not None:
            self._topics.forget(topic)

    def _check(self, tp: TopicPartition, records: Sequence[Record]) -> None:
        self._known(tp)
        compacted = spec_of(tp.topic, self._settings.partitions).compacted
        for record in records:
            if compacted and record.key is None:
                raise ValueError(f"topic {tp.topic} is compacted: a record needs a key")
            if not compacted and record.value is None:
                raise ValueError(f"topic {tp.topic} is not compacted: a record needs a value")
            if (size := len(record.value or b"") + len(record.key or b"")) > RECORD_BYTES:
                raise ValueError(
                    f"a record of {size} bytes for {tp.topic}: Kafka takes {RECORD_BYTES} at most; split it into several"
                )

    def _known(self, tp: TopicPartition) -> None:
        if not 0 <= tp.partition < (have := self.partitions(tp.topic)):
            raise ValueError(
                f"{tp.topic} has partitions 0 to {have - 1}, not {tp.partition}; see log.partitions"
            )
