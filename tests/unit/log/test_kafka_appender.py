"""The appender without a broker: a producer that answers as the test says."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.producer import sender as aiokafka_sender
from aiokafka.producer.message_accumulator import BatchBuilder

from headwater.clock import ManualClock
from headwater.errors import LogUnavailable
from headwater.log.kafka import appender as module
from headwater.log.kafka.appender import Appender, _cost, abandon
from headwater.log.kafka.connection import Connection
from headwater.log.protocol import Record, TopicPartition
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

P0, P1 = TopicPartition(ACCEPTED, 0), TopicPartition(ACCEPTED, 1)


@dataclass
class Producer:
    """Takes batches and answers none by itself; what it knows of topics is `known`."""

    known: set[str] = field(default_factory=lambda: {ACCEPTED})
    sent: list[tuple[int, int, asyncio.Future[object]]] = field(default_factory=list)  # partition, records
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    async def start(self) -> None:
        """Connected at once."""

    def create_batch(self) -> BatchBuilder:
        """A real one."""
        return BatchBuilder(1 << 20, 0, is_transactional=False, key_serializer=None, value_serializer=None)

    async def send_batch(self, builder: Any, _topic: str, *, partition: int) -> asyncio.Future[object]:
        """Under way until the test settles the future."""
        if self.failure is not None:
            raise self.failure
        future = asyncio.get_running_loop().create_future()
        self.sent.append((partition, builder.record_count(), future))
        self.arrived.set()
        return future

    async def under_way(self, number: int) -> None:
        """Wait until so many batches were sent."""
        while len(self.sent) < number:
            self.arrived.clear()
            await self.arrived.wait()

    @property
    def client(self) -> Producer:
        """The producer's client."""
        return self

    cluster = client

    def add_topic(self, name: str) -> None:
        """Nothing to ask about it."""

    def topics(self) -> set[str]:
        """What the client knows."""
        return self.known


class Rig(Connection):
    """A connection that makes such producers, and an appender on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, queue_bytes: int = 1 << 20) -> None:
        super().__init__(KafkaLogSettings(brokers=["k:9092"]))
        self.producers = [Producer()]
        self.gone: list[str] = []
        self.let_go = asyncio.Event()
        self.let_go.set()

        async def abandon(_: object) -> None:
            await self.let_go.wait()

        monkeypatch.setattr(module, "abandon", abandon)
        self.appender = Appender(self, ManualClock(), lambda _: None, self.gone.append, queue_bytes, "test")

    def producer(self, *_: object, **__: object) -> Any:
        """The next one."""
        return self.producers[-1]

    def append(self, *records: Record, to: TopicPartition = P0) -> asyncio.Task[None]:
        """A caller."""
        return asyncio.create_task(self.appender.append({to: list(records)}))


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """An appender whose producers are let go of at once."""
    made = Rig(monkeypatch)
    yield made
    await made.appender.crash()


async def test_callers_hear_of_a_failure_before_the_producer_is_let_go(rig: Rig) -> None:
    """Closing connections to a broker that is gone takes seconds; nobody waits for that, the queue neither."""
    rig.let_go.clear()
    callers = [rig.append(Record(b"a"))]
    await rig.producers[0].under_way(1)
    callers.append(rig.append(Record(b"b")))
    await asyncio.sleep(0)
    rig.producers[0].sent[0][2].set_exception(KafkaConnectionError("gone"))
    async with asyncio.timeout(10):
        for caller in callers:
            with pytest.raises(LogUnavailable, match="gone"):
                await caller
    rig.let_go.set()


async def test_what_nobody_waits_for_is_not_begun(rig: Rig) -> None:
    """A caller that gave up while it queued has put its records elsewhere: writing them too would double them."""
    producer = rig.producers[0]
    first = rig.append(Record(b"first"))
    await producer.under_way(1)
    given_up, patient = rig.append(Record(b"x"), Record(b"y")), rig.append(Record(b"z"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    producer.sent[0][2].set_result(None)
    await first
    await producer.under_way(2)
    producer.sent[1][2].set_result(None)
    await patient
    assert [records for _, records, _ in producer.sent] == [1, 1]


async def test_a_batch_under_way_counts_against_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent broker holds no more memory than `queue_bytes`, however many partitions there are."""
    record = Record(b"x" * 1000)
    rig = Rig(monkeypatch, queue_bytes=_cost(record) + 10)
    caller = rig.append(record)
    await rig.producers[0].under_way(1)
    with pytest.raises(LogUnavailable, match="wait for Kafka"):
        await rig.append(record, to=P1)
    rig.producers[0].sent[0][2].set_result(None)
    await caller
    second = rig.append(record, to=P1)
    await rig.producers[0].under_way(2)
    rig.producers[0].sent[1][2].set_result(None)
    await second


async def test_an_undeclared_failure_leaves_no_caller_waiting(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a client library raises, the callers are told, and the next ones are served by a new producer."""
    rig.producers[0].failure = RuntimeError("a defect")
    async with asyncio.timeout(10):
        with pytest.raises(LogUnavailable, match="RuntimeError"):
            await rig.append(Record(b"a"))
    assert "does not declare" in caplog.text
    await asyncio.sleep(0)
    rig.producers.append(Producer())
    caller = rig.append(Record(b"b"))
    await rig.producers[1].under_way(1)
    rig.producers[1].sent[0][2].set_result(None)
    await caller


@pytest.mark.parametrize("known", [True, False])
async def test_a_topic_that_brokers_know_no_longer_is_reported(rig: Rig, known: bool) -> None:
    """A failure of a topic that is there says nothing of the topic."""
    caller = rig.append(Record(b"a"))
    await rig.producers[0].under_way(1)
    if not known:
        rig.producers[0].known.clear()
    rig.producers[0].sent[0][2].set_exception(KafkaError("no"))
    with pytest.raises(LogUnavailable):
        await caller
    assert rig.gone == ([] if known else [ACCEPTED])


async def test_what_is_let_go_of_is_not_logged_as_forgotten() -> None:
    """A producer that dies fails whoever waits for a turn, too; nobody does, and asyncio would print a trace of each."""
    forgotten: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: forgotten.append(told))
    producer = Connection(KafkaLogSettings(brokers=["k:9092"])).producer("test")
    held = producer._message_accumulator
    held._append_batch(producer.create_batch(), P0)
    held.fail_all(KafkaError("fenced"))
    await abandon(producer)
    held._batches.clear()
    del producer, held
    gc.collect()
    assert forgotten == []


async def test_a_producer_that_waits_for_what_will_not_come_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sender finishes first what is under way, for ever where that never ends."""
    monkeypatch.setattr(module, "END_S", 0.01)
    producer = Connection(KafkaLogSettings(brokers=["k:9092"])).producer("test")

    async def end_the_transaction() -> None:
        await asyncio.Event().wait()

    async def send() -> None:
        under_way = asyncio.create_task(end_the_transaction())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await under_way

    sending = producer._sender._sender_task = asyncio.create_task(send())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await abandon(producer)
    assert sending.done()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_a_sender_has_under_way_fails_unheard_of_when_it_is_let_go_of() -> None:
    """Two tasks at once fail for their connections are closed; the sender hears of the first and has ended then."""
    forgotten: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: forgotten.append(told))
    producer = Connection(KafkaLogSettings(brokers=["k:9092"])).producer("test")
    gone = asyncio.Event()

    async def fail() -> None:
        await gone.wait()
        raise KafkaError("closed")

    async def send() -> None:
        under_way = [aiokafka_sender.create_task(fail()) for _ in range(2)]
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for task in under_way:
                await task

    producer._sender._sender_task = aiokafka_sender.create_task(send())
    await asyncio.sleep(0)
    gone.set()
    await abandon(producer)
    await asyncio.sleep(0)
    del producer
    gc.collect()
    assert forgotten == []
