"""The exclusive owner of an input partition: a transactional producer whose id is the partition's.

Starting the producer (InitProducerId) raises the fence: the broker finishes or aborts what an earlier owner had under way
and refuses it from then on. A transaction whose outcome is not known ends the claim, for only a new claim can find out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition

from headwater.clock import Clock
from headwater.errors import LogUnavailable
from headwater.log.kafka.appender import abandon, hush
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.failures import TROUBLE, fenced, is_fence, reaching, unavailable
from headwater.log.kafka.wire import headers
from headwater.log.owner import Claim, Ledger
from headwater.log.protocol import Position, Record, TopicPartition
from headwater.metrics import KAFKA_FENCES, KAFKA_TRANSACTIONS

COMMIT_S = 25.0  # longer than a dead broker's partitions are without a leader
CLAIM_S = 30.0
TRANSACTION_MS = 30_000  # the broker aborts a transaction that takes longer: more than COMMIT_S

AT_ONCE = 8  # fences being raised
Outputs = Mapping[TopicPartition, Sequence[Record]]
Positions = Mapping[TopicPartition, Position]


class Written(Protocol):
    """What the log wants to hear of a claim."""

    def wrote(self, topics: Sequence[str]) -> None:
        """A transaction wrote to these."""
        ...

    def refused(self, group: str) -> None:
        """An owner of the group was refused."""
        ...


class KafkaClaim(Claim):
    """A claim with its producer (see `headwater.log.protocol.Owner`)."""

    def __init__(
        self,
        ledger: Ledger,
        group: str,
        tp: TopicPartition,
        producer: AIOKafkaProducer,
        stored: Callable[[], Awaitable[Position | None]],
        closed: Callable[[], None],
    ) -> None:
        super().__init__(ledger, group, tp, 0)
        self.producer = producer
        self.turn = asyncio.Lock()
        self.over: str = ""  # why nothing more can be committed here
        self._forget = closed
        self._stored = stored

    async def position(self) -> Position | None:
        """The committed position, once no transaction is about to move it."""
        return await self._stored()

    async def close(self) -> None:
        """Give the claim up."""
        if not self._closed:
            await super().close()
            self._forget()
            await abandon(self.producer)


class Fences:
    """Raises the fences of one process: of all that a member was assigned at once, as soon as one of them is claimed.

    A transaction that a dead owner left open hides what others have written behind it to the topics they share, until
    somebody raises the fence of its partition; claims one after another would each wait for the next.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._raising: dict[tuple[str, TopicPartition], asyncio.Task[AIOKafkaProducer]] = {}
        self._going: set[asyncio.Task[None]] = set()  # being let go of
        self._places = asyncio.Semaphore(AT_ONCE)

    async def take(
        self, group: str, tp: TopicPartition, beside: Iterable[TopicPartition]
    ) -> AIOKafkaProducer:
        """A producer that owns `tp`; those of `beside` are raised meanwhile and kept. Raises LogUnavailable."""
        for other in {tp, *beside}:
            if (group, other) not in self._raising:
                work = self._raise(group, other)
                self._raising[group, other] = asyncio.create_task(
                    work, name=f"kafka-fence-{other.topic}-{other.partition}"
                )
        mine = self._raising[group, tp]
        await asyncio.wait([task for (name, _), task in self._raising.items() if name == group])
        if self._raising.get((group, tp)) is not mine:
            raise LogUnavailable(
                f"{tp.topic}[{tp.partition}] was taken from group {group!r} while it was being claimed; poll again"
            )
        del self._raising[group, tp]
        return await mine

    async def _raise(self, group: str, tp: TopicPartition) -> AIOKafkaProducer:
        async with self._places:
            return await raise_fence(self._connection, group, tp)

    async def drop(self, group: str | None = None) -> None:
        """Let go of what nobody took: of a group whose assignment is over, or of all. Goes on where it is cancelled."""
        for key in [key for key in self._raising if group in (None, key[0])]:
            going = asyncio.create_task(_let_go(self._raising.pop(key)), name="kafka-fence-over")
            self._going.add(going)
            going.add_done_callback(self._going.discard)
        if self._going:
            await asyncio.wait(self._going)


async def _let_go(raising: asyncio.Task[AIOKafkaProducer]) -> None:
    raising.cancel()
    await asyncio.wait([raising])
    if not raising.cancelled() and raising.exception() is None:
        await abandon(raising.result())


async def raise_fence(connection: Connection, group: str, tp: TopicPartition) -> AIOKafkaProducer:
    """A producer that owns the partition for the group. Raises LogUnavailable."""
    name = f"{connection.settings.topic_prefix}{group}.{tp.topic}.{tp.partition}"
    producer = connection.producer(f"owner-{group}-{tp.topic}-{tp.partition}", name, TRANSACTION_MS)
    try:
        with reaching(f"cannot claim {tp.topic}[{tp.partition}] for {group!r}"):
            async with asyncio.timeout(CLAIM_S):
                await connection.start(producer)
    except BaseException:
        await abandon(producer)
        raise
    return producer


async def commit(
    claim: KafkaClaim, outputs: Outputs, positions: Positions, prefix: str, clock: Clock, told: Written
) -> dict[TopicPartition, int]:
    """Write outputs and positions in one Kafka transaction. Raises Fenced or LogUnavailable."""
    async with claim.turn:
        if claim.over:
            raise LogUnavailable(claim.over)
        where = f"{claim.tp.topic}[{claim.tp.partition}]"
        claim.over = (
            f"group {claim.group!r}: an earlier transaction of {where} has an unknown outcome; claim again"
        )
        try:
            async with asyncio.timeout(COMMIT_S):
                ends = await _commit(claim, outputs, positions, prefix, clock.now_ms())
        except TROUBLE as error:
            hush(claim.producer)
            KAFKA_TRANSACTIONS.labels(claim.group, "failed").inc()
            if is_fence(error):
                KAFKA_FENCES.labels(claim.group).inc()
                told.refused(claim.group)
                raise fenced(claim.group, claim.tp) from error
            raise unavailable(f"cannot commit a transaction of {where}", error) from error
        claim.over = ""
    KAFKA_TRANSACTIONS.labels(claim.group, "committed").inc()
    told.wrote([tp.topic for tp in ends])
    return ends


async def _commit(
    claim: KafkaClaim, outputs: Outputs, positions: Positions, prefix: str, now_ms: int
) -> dict[TopicPartition, int]:
    producer = claim.producer
    await producer.begin_transaction()
    if not outputs and not positions:
        await _join(producer, prefix + claim.group)
    steps: list[Coroutine[Any, Any, int]] = [
        _write(producer, prefix + tp.topic, tp.partition, records, now_ms) for tp, records in outputs.items()
    ]
    if positions:
        steps.append(_advance(producer, prefix, claim.group, positions))
    results = await asyncio.gather(*steps, return_exceptions=True)
    if failures := [result for result in results if isinstance(result, BaseException)]:
        # nothing is committed before all of it is written; where one step was fenced, the others only hear that it is over
        raise next((failure for failure in failures if is_fence(failure)), failures[0])
    await producer.commit_transaction()
    return {tp: end for tp, end in zip(outputs, results, strict=False) if isinstance(end, int)}


async def _write(
    producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[Record], now_ms: int
) -> int:
    """Send records in as few batches as hold them; the offset after the last one."""
    end, waiting = 0, list(reversed(records))
    while waiting:
        builder, count = producer.create_batch(), 0
        while waiting and _added(builder, waiting[-1], now_ms):
            waiting.pop()
            count += 1
        written = await (await producer.send_batch(builder, topic, partition=partition))
        end = written.offset + count
    return end


def _added(builder: Any, record: Record, now_ms: int) -> bool:
    added = builder.append(
        timestamp=record.timestamp or now_ms, key=record.key, value=record.value, headers=headers(record)
    )
    return added is not None


async def _advance(producer: AIOKafkaProducer, prefix: str, group: str, positions: Positions) -> int:
    offsets = {
        KafkaPartition(prefix + tp.topic, tp.partition): OffsetAndMetadata(position.offset, position.metadata)
        for tp, position in positions.items()
    }
    await producer.send_offsets_to_transaction(offsets, prefix + group)
    return len(offsets)


async def _join(producer: AIOKafkaProducer, group: str) -> None:
    """Make an empty transaction one that the broker hears of: it is refused like any other where the fence is up."""
    while not await producer._sender._do_add_offsets_to_txn(group):  # noqa: SLF001 - no public way asks nothing else
        continue
