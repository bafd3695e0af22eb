"""Three brokers keep what they acknowledged while one of them is away, and a proxy may stand before any of them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from headwater.dev.kafka.cluster import Cluster
from headwater.dev.kafka.ports import free_ports
from tests.support.kafka import create_topic

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
PARTITIONS = 6  # each broker leads two


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose first broker sends its clients to another port."""
    cluster = Cluster(tmp_path_factory.mktemp("three"), brokers=3)
    [proxied] = free_ports(1)
    cluster.advertise(1, proxied)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop(0)


class Proxy:
    """Hands bytes on to a port of loopback, and counts those that clients sent."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        self._passing: list[asyncio.Task[None]] = []
        self.sent = 0

    @asynccontextmanager
    async def serve(self, port: int) -> AsyncIterator[Proxy]:
        """Listen on a port; at the end all connections are closed."""
        server = await asyncio.start_server(self._pass, "127.0.0.1", port)
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
            await asyncio.gather(*self._passing)

    def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._passing.append(asyncio.create_task(self._both(reader, writer)))

    async def _both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, out]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._copy(reader, out, count=True))
            tasks.create_task(self._copy(there, writer, count=False))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        with suppress(ConnectionError):
            while some := await reader.read(65_536):
                self.sent += len(some) if count else 0
                writer.write(some)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def produce(cluster: Cluster, topic: str, value: bytes) -> None:
    """One acknowledged record in each partition; what fails while the cluster finds new leaders is sent again."""
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, acks="all", request_timeout_ms=5_000
    ) as producer:
        for partition in range(PARTITIONS):
            while True:
                try:
                    await producer.send_and_wait(topic, b"%s%d" % (value, partition), partition=partition)
                except KafkaError:
                    continue
                break


async def consume(cluster: Cluster, topic: str, wanted: set[bytes]) -> None:
    """Read all partitions from the begin until everything wanted was seen."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=cluster.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    async with consumer:
        consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        while wanted:
            wanted.discard((await consumer.getone()).value or b"")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_broker_may_go_away_and_come_back(
    three: Cluster, sign: signal.Signals, topic_prefix: str
) -> None:
    """Two of three acknowledge, clients of the first broker go through its proxy, and nothing acknowledged is gone."""
    address = three.addresses("PLAINTEXT").split(",")[0]
    async with asyncio.timeout(200), Proxy(three.port(1)).serve(int(address.rpartition(":")[2])) as proxy:
        await create_topic(three.bootstrap, topic_prefix, PARTITIONS, copies=3)
        await produce(three, topic_prefix, b"a" * 50_000)
        assert proxy.sent > 2 * 50_000
        await asyncio.to_thread(three.kill, 2, sign)
        await produce(three, topic_prefix, b"b")
        if sign is signal.SIGSTOP:
            await asyncio.to_thread(three.kill, 2, signal.SIGCONT)
        else:
            await asyncio.to_thread(three.restart, 2)
        await produce(three, topic_prefix, b"c")
        rounds = (b"a" * 50_000, b"b", b"c")
        await consume(three, topic_prefix, {b"%s%d" % (r, p) for r in rounds for p in range(PARTITIONS)})
