"""Connections to the brokers are reset in the middle of everything: clients hear of a lost connection and go on."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from headwater.log.kafka.cluster import Cluster
from headwater.log.kafka.connection import Connection
from headwater.log.protocol import TopicPartition
from headwater.log.topics import ACCEPTED
from tests.support import processing

pytestmark = pytest.mark.kafka


async def break_(connection: AIOKafkaConnection, bootstrap: str) -> asyncio.StreamWriter:
    """Leave a connection with a closed transport, as it is after a reset until somebody tells it; what it wrote to before."""
    host, _, port = bootstrap.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.transport.abort()
    async with asyncio.timeout(10):
        while "closed=True" not in repr(writer.transport):
            await asyncio.sleep(0)
    before, connection._writer = connection._writer, writer
    assert isinstance(before, asyncio.StreamWriter)
    return before


def test_a_write_to_a_connection_that_was_just_reset_is_a_lost_connection(kafka: str) -> None:
    """On uvloop, which stages run on, a write to a closed transport raises RuntimeError."""

    async def write() -> None:
        host, _, port = kafka.rpartition(":")
        connection = await create_conn(host, int(port))
        before = await break_(connection, kafka)
        with pytest.raises(KafkaConnectionError, match="is lost"):
            await connection.send(MetadataRequest([]))
        assert not connection.connected()
        before.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(write())


def test_a_client_keeps_its_metadata_current_through_resets(kafka: str, topic_prefix: str) -> None:
    """However often its connections break at the worst instant, the task that follows moving leaders goes on."""
    wanted = processing.settings(kafka, topic_prefix)
    tp = TopicPartition(ACCEPTED, 0)

    async def use() -> None:
        async with processing.kafka_log(wanted):
            cluster = Cluster(Connection(wanted), "reader")
            try:
                for _ in range(3):
                    await cluster.bounds([tp])
                    client = await cluster.client()
                    writers = [await break_(connection, kafka) for connection in client._conns.values()]
                    async with asyncio.timeout(20):
                        while not await client.force_metadata_update():
                            await asyncio.sleep(0.01)  # the only broker was not reached by the first attempt
                    for writer in writers:
                        writer.close()
                assert not client._sync_task.done()
            finally:
                await cluster.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())
