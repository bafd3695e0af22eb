"""The Kafka that `headwater dev kafka` and the tests start is a real one: it keeps, orders, commits and aborts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from headwater.dev.kafka.cluster import Cluster
from tests.support.kafka import create_topic

pytestmark = pytest.mark.kafka


async def values(bootstrap: str, topic: str, number: int) -> list[bytes]:
    """The first committed records of partition 0."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(30):
            return [(await consumer.getone()).value for _ in range(number)]
    finally:
        await consumer.stop()


async def test_what_is_produced_is_consumed_in_order(kafka: str, topic_prefix: str) -> None:
    """The records of one partition come back as they were sent."""
    topic = f"{topic_prefix}plain"
    await create_topic(kafka, topic)
    sent = [b"%d" % number for number in range(20)]
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        for value in sent:
            await producer.send_and_wait(topic, value, partition=0)
    assert await values(kafka, topic, 20) == sent


async def test_committed_records_are_read_and_aborted_ones_are_not(kafka: str, topic_prefix: str) -> None:
    """An aborted transaction leaves nothing that a read_committed consumer sees."""
    topic = f"{topic_prefix}transactions"
    await create_topic(kafka, topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}tx") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted", partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed", partition=0)
    assert await values(kafka, topic, 1) == [b"committed"]


async def test_acknowledged_records_survive_sigkill_of_the_broker(tmp_path: Path) -> None:
    """The same client goes on with the broker that came back, and reads what it had sent before."""
    with Cluster(tmp_path) as cluster:
        await create_topic(cluster.bootstrap, "kept")
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all") as producer:
            await producer.send_and_wait("kept", b"before", partition=0)
            first = cluster.pid(1)
            await asyncio.to_thread(cluster.kill, 1)
            await asyncio.to_thread(cluster.restart, 1)
            assert cluster.pid(1) != first
            await producer.send_and_wait("kept", b"after", partition=0)
        assert await values(cluster.bootstrap, "kept", 2) == [b"before", b"after"]
