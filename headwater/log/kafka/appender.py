"""Appending without a transaction: the collector's side. Group commit per partition, bounded, in order.

While one batch of a partition is on its way, what comes meanwhile gathers into the next one: many callers share one
answer of the brokers. The producer is idempotent and waits for all replicas in sync. Where a partition takes nothing for
`ACK_S`, its callers are told so and the next ones are refused at once, until the batch under way got through or failed.
What nobody waits for any more is not begun: its caller keeps it elsewhere, or told its client to send it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed
from aiokafka.producer import sender as aiokafka_sender

from headwater.clock import Clock
from headwater.errors import LogUnavailable
from headwater.log.kafka.connection import BATCH_BYTES, Connection
from headwater.log.kafka.failures import TROUBLE, described, reaching
from headwater.log.kafka.wire import headers
from headwater.log.protocol import Record, TopicPartition
from headwater.metrics import KAFKA_STUCK, KAFKA_WAITING

ACK_S = 5.0
CONNECT_S = 5.0
CLOSE_S = 10.0
END_S = 2.0  # what a producer has under way ends within, once its connections are closed, or is ended
RETRY_S = 0.5  # between attempts to connect; meanwhile callers are refused at once
OVERHEAD = 64  # bytes a record costs beside its value

_log = logging.getLogger(__name__)


def _heard(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of a producer's sender; one that fails after the sender was let go of is not logged as forgotten."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


# While it runs the sender itself asks each of its tasks what became of it.
aiokafka_sender.create_task = _heard


@dataclass(slots=True)
class _Job:
    """One caller's records of one partition."""

    future: asyncio.Future[None]
    left: int


@dataclass(slots=True)
class _Lane:
    """What waits for one partition."""

    tp: TopicPartition
    waiting: deque[tuple[Record, _Job]] = field(default_factory=deque)
    sent: list[_Job] = field(default_factory=list)  # whose the records of the batch under way are, one by one
    sent_bytes: int = 0
    task: asyncio.Task[None] | None = None
    stuck: bool = False


class Appender:
    """The producer of one process."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        announce: Callable[[list[str]], None],
        doubt: Callable[[str], None],
        queue_bytes: int,
        process: str,
    ) -> None:
        """`announce` hears of topics that were written to, `doubt` of one that no broker told of."""
        self._connection, self._clock, self._announce, self._doubt = connection, clock, announce, doubt
        self._queue_bytes, self._queued = queue_bytes, 0
        self._queued_gauge, self._stuck_gauge = KAFKA_WAITING.labels(process), KAFKA_STUCK.labels(process)
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._producer: AIOKafkaProducer | None = None
        self._turn = asyncio.Lock()
        self._down: tuple[float, str] = (float("-inf"), "")
        self._closed = False

    async def append(self, by_partition: dict[TopicPartition, list[Record]]) -> None:
        """Write records; returns once all of them are durable. Raises LogUnavailable."""
        size = sum(_cost(record) for records in by_partition.values() for record in records)
        self._admit(size, by_partition)
        jobs = [self._queue(tp, records) for tp, records in by_partition.items() if records]
        if len(jobs) == 1:  # a turn of the loop less than gathering
            await jobs[0]
            return
        results = await asyncio.gather(*jobs, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _admit(self, size: int, by_partition: dict[TopicPartition, list[Record]]) -> None:
        if self._closed:
            raise LogUnavailable("this log is closing; nothing more is taken")
        if self._queued and self._queued + size > self._queue_bytes:
            raise LogUnavailable(
                f"{self._queued} bytes wait for Kafka, {self._queue_bytes} are allowed; "
                "the brokers are slower than the events come, try again"
            )
        for tp in by_partition:
            if (lane := self._lanes.get(tp)) is not None and lane.stuck:
                raise _stuck(tp)

    def _queue(self, tp: TopicPartition, records: Sequence[Record]) -> asyncio.Future[None]:
        lane = self._lanes.setdefault(tp, _Lane(tp))
        job = _Job(asyncio.get_running_loop().create_future(), len(records))
        for record in records:
            self._count(_cost(record))
            lane.waiting.append((record, job))
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._pump(lane), name=f"kafka-append-{tp.topic}-{tp.partition}")
        return job.future

    async def _pump(self, lane: _Lane) -> None:
        while lane.waiting:
            producer = None
            try:
                producer = await self._connected()
                if (builder := self._fill(producer, lane)) is not None:
                    await self._send(producer, lane, builder)
            except LogUnavailable as error:
                self._refuse(lane, error)
            except asyncio.CancelledError:  # closing: whoever waits is not left waiting
                self._refuse(lane, LogUnavailable("this log was closed before Kafka took these records"))
                raise
            except Exception as error:  # noqa: BLE001 - the supervisor of a partition: nobody may wait for ever
                _log.exception("appending to %s[%d] failed in a way it does not declare", *lane.tp)
                self._refuse(lane, LogUnavailable(f"appending to Kafka failed: {type(error).__name__}"))
                if producer is not None:
                    await self._replace(producer)
            finally:
                self._done_with(lane)

    def _fill(self, producer: AIOKafkaProducer, lane: _Lane) -> Any:
        """As many waiting records as one batch holds; None where nobody waits for any of them."""
        builder = producer.create_batch()
        now = self._clock.now_ms()
        while lane.waiting:
            record, job = lane.waiting[0]
            cost = _cost(record)
            if not job.future.done():
                if lane.sent and lane.sent_bytes + cost > BATCH_BYTES:
                    break
                added = builder.append(
                    timestamp=record.timestamp or now,
                    key=record.key,
                    value=record.value,
                    headers=headers(record),
                )
                if added is None:
                    break
                lane.sent.append(job)
                lane.sent_bytes += cost
            else:
                self._count(-cost)
            lane.waiting.popleft()
        return builder if lane.sent else None

    async def _send(self, producer: AIOKafkaProducer, lane: _Lane, builder: Any) -> None:
        topic = self._connection.settings.topic_prefix + lane.tp.topic
        try:
            with reaching(f"cannot append to {lane.tp.topic}[{lane.tp.partition}]"):
                async with asyncio.timeout(ACK_S):
                    written = await producer.send_batch(builder, topic, partition=lane.tp.partition)
                late = asyncio.get_running_loop().call_later(ACK_S, self._get_stuck, lane)
                try:
                    await written
                finally:
                    late.cancel()
        except LogUnavailable as error:
            self._refuse(lane, error)  # at once: letting go of the producer may take a while
            if topic not in producer.client.cluster.topics():
                self._doubt(lane.tp.topic)  # deleted; or the producer is new, and there was no answer in time
            await self._replace(producer)
            return
        for job in lane.sent:
            job.left -= 1
            if not job.left and not job.future.done():
                job.future.set_result(None)
        self._announce([lane.tp.topic])

    def _get_stuck(self, lane: _Lane) -> None:
        """Nothing got through for a while: nobody waits for it any longer, nobody queues up behind it."""
        self._set_stuck(lane, stuck=True)
        refusal = _stuck(lane.tp)
        _log.warning("%s", refusal)
        self._refuse(lane, refusal)

    def _refuse(self, lane: _Lane, error: LogUnavailable) -> None:
        """Tell everyone who waits for this partition, the batch under way included."""
        _fail(lane.sent, error)
        while lane.waiting:
            record, job = lane.waiting.popleft()
            self._count(-_cost(record))
            _fail([job], error)

    def _done_with(self, lane: _Lane) -> None:
        """The batch under way is none any more."""
        self._count(-lane.sent_bytes)
        lane.sent, lane.sent_bytes = [], 0
        if lane.stuck:
            self._set_stuck(lane, stuck=False)

    def _set_stuck(self, lane: _Lane, *, stuck: bool) -> None:
        lane.stuck = stuck
        self._stuck_gauge.set(sum(one.stuck for one in self._lanes.values()))

    def _count(self, change: int) -> None:
        self._queued += change
        self._queued_gauge.set(self._queued)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._turn:
            if self._producer is not None:
                return self._producer
            now = asyncio.get_running_loop().time()
            if now < self._down[0]:
                raise LogUnavailable(self._down[1])
            producer = self._connection.producer("appender")
            try:
                with reaching("cannot connect to append"):
                    async with asyncio.timeout(CONNECT_S):
                        await self._connection.start(producer)
            except BaseException as error:
                await abandon(producer)
                self._down = (asyncio.get_running_loop().time() + RETRY_S, str(error))
                raise
            self._producer = producer
            return producer

    async def _replace(self, producer: AIOKafkaProducer) -> None:
        """A producer that lost a batch has a gap in its sequence and can write no more."""
        if self._producer is producer:
            self._producer = None
            await abandon(producer)

    async def close(self) -> None:
        """Write what is queued, for a while; then let go."""
        self._closed = True
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        try:
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=CLOSE_S)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
        finally:
            for lane in self._lanes.values():
                self._refuse(lane, LogUnavailable("this log was closed before Kafka took these records"))
            if self._producer is not None:
                producer, self._producer = self._producer, None
                await abandon(producer)

    async def crash(self) -> None:
        """Let go at once of everything."""
        self._closed = True
        for lane in self._lanes.values():
            if lane.task is not None:
                lane.task.cancel()
            self._refuse(lane, LogUnavailable("this log has crashed"))
        if self._producer is not None:
            await abandon(self._producer)


async def abandon(producer: AIOKafkaProducer) -> None:
    """Let go of a producer at once, without flushing: nothing of it is waited for any more."""
    producer._closed = True  # noqa: SLF001 - else it complains when it is collected
    sender = producer._sender  # noqa: SLF001 - `stop` would flush first, for ever where no broker answers
    if (task := sender.sender_task) is not None:
        task.remove_done_callback(sender._fail_all)  # noqa: SLF001 - it expects a transaction under way
        task.cancel()  # before the batches fail: it would find them in its hands and die of it
    producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 - whoever still waits for a batch
    hush(producer)
    closing = asyncio.gather(_closed(producer, task), return_exceptions=True)
    await asyncio.wait([closing], timeout=CLOSE_S)
    for result in closing.result() if closing.done() else ():
        if isinstance(result, BaseException) and not isinstance(result, TROUBLE):
            _log.debug("closing a producer: %s", described(result))


async def _closed(producer: AIOKafkaProducer, sending: asyncio.Task[None] | None) -> None:
    """Close the connections, which ends the requests that the sender waits for, and those that it made meanwhile."""
    await producer.client.close()
    if sending is not None:
        while not (await asyncio.wait([sending], timeout=END_S))[0]:
            sending.cancel()  # of what it waits for, which does not end by itself
        if not sending.cancelled():
            sending.exception()  # heard, lest it is logged as forgotten
        await producer.client.close()


def hush(producer: AIOKafkaProducer) -> None:
    """Take the errors out of futures that nobody will wait for, lest each is logged as forgotten."""
    held = producer._message_accumulator  # noqa: SLF001 - failing batches fails who waits for their turn, too
    batches = [*held._pending_batches, *(one for some in held._batches.values() for one in some)]  # noqa: SLF001
    waiters = [waiter for batch in batches for waiter in (batch.future, batch._drain_waiter)]  # noqa: SLF001
    transactions = producer._txn_manager  # noqa: SLF001
    if transactions is not None and transactions._transaction_waiter is not None:  # noqa: SLF001
        waiters.append(transactions._transaction_waiter)  # noqa: SLF001
    for waiter in waiters:
        if waiter.done() and not waiter.cancelled():
            waiter.exception()


def _fail(jobs: Sequence[_Job], error: LogUnavailable) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)


def _stuck(tp: TopicPartition) -> LogUnavailable:
    return LogUnavailable(
        f"Kafka: {tp.topic}[{tp.partition}] has taken nothing for {ACK_S:.0f} s (no leader, or fewer replicas in sync than "
        "min.insync.replicas); `headwater check --live` looks at the brokers"
    )


def _cost(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + OVERHEAD
