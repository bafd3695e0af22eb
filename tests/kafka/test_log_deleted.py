"""Topics that somebody deletes under a running log, and topics that looking must not make."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import client as aiokafka_client
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataRequest_v5

from headwater.dev.kafka.cluster import Cluster
from headwater.errors import LogUnavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.connection import RECORD_BYTES
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.log.retention import DAY_S, Policy
from headwater.log.topics import ACCEPTED, PROCESSED, PROCESSOR_GROUP
from headwater.workspace.model import KafkaLogSettings
from tests.support.proxy import Proxy

pytestmark = pytest.mark.kafka
IN = TopicPartition(ACCEPTED, 0)


def log_of(bootstrap: str, prefix: str) -> KafkaLog:
    """As a collector opens it."""
    settings = KafkaLogSettings(
        brokers=[bootstrap], replication=1, min_insync_replicas=1, topic_prefix=prefix
    )
    return KafkaLog(settings, policy=lambda: Policy(DAY_S))


@pytest.mark.timeout(100)
async def test_a_deleted_topic_is_made_anew_by_who_appends(
    kafka: str, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers hear that Kafka takes nothing, until the topic is there again; nobody has to start anything again."""
    async with log_of(kafka, topic_prefix) as log:
        await log.append([Entry(*IN, Record(b"before"))])
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_topics([topic_prefix + ACCEPTED])
        await admin.close()
        refused = 0
        async with asyncio.timeout(60):
            while True:
                try:
                    await log.append([Entry(*IN, Record(b"after"))])
                except LogUnavailable:
                    refused += 1
                    await asyncio.sleep(0.1)
                else:
                    if refused:
                        break
        end = (await log.bounds(IN)).end
        found = (await log.read(IN, 0)).records
    assert {record.value for record in found} == {b"after"}
    assert end == len(found)
    assert f"topic {ACCEPTED} was not on the brokers any more" in caplog.text


@pytest.mark.timeout(200)
async def test_a_topic_of_which_brokers_did_not_tell_in_time_is_not_told_as_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A producer that is connected asks about its second topic of brokers that have stalled: they have not deleted it."""
    cluster, other = Cluster(tmp_path / "kafka"), TopicPartition(PROCESSED, 0)
    with Proxy(cluster.port(1)) as proxy:
        cluster.advertise(1, proxy.port)
        await asyncio.to_thread(cluster.start)
        try:
            async with log_of(f"127.0.0.1:{proxy.port}", "") as log:
                await log.append([Entry(*IN, Record(b"before"))])
                proxy.stall()
                with pytest.raises(LogUnavailable, match=r"cannot append to events.processed\[0\]"):
                    await log.append([Entry(*other, Record(b"stalled"))])
                proxy.heal()
                await appended(log, Entry(*other, Record(b"after")))
                records = (await log.read(other, 0)).records
        finally:
            await asyncio.to_thread(cluster.stop)
    assert [record.value for record in records] == [b"after"]
    assert "any more" not in caplog.text


async def appended(log: KafkaLog, entry: Entry) -> int:
    """Append, again and again until it is taken; how often it was refused."""
    refused = 0
    async with asyncio.timeout(60):
        while True:
            try:
                await log.append([entry])
            except LogUnavailable:
                refused += 1
                await asyncio.sleep(0.1)
            else:
                return refused


async def test_a_record_larger_than_kafka_takes_is_refused_at_once(kafka: str, topic_prefix: str) -> None:
    """It is the caller's mistake, not an outage: nobody is to try again."""
    async with log_of(kafka, topic_prefix) as log:
        with pytest.raises(ValueError, match=f"{RECORD_BYTES} at most"):
            await log.append([Entry(*IN, Record(b"x" * (RECORD_BYTES + 1)))])
        await log.append(
            [Entry(*IN, Record(b"x" * RECORD_BYTES))]
        )  # and one that fits goes through, alone in its batch


def test_asking_for_a_topic_makes_none() -> None:
    """`headwater status` before the first start would make topics of one partition, where brokers allow it."""
    made: Any = AIOKafkaClient._metadata_update.__globals__["MetadataRequest"]
    assert made is aiokafka_client.MetadataRequest
    assert made(["t"]).build(MetadataRequest_v5).allow_auto_topic_creation is False


async def test_a_partition_that_is_revoked_while_it_is_claimed_is_no_defect(
    kafka: str, topic_prefix: str
) -> None:
    """A rebalance lets go of the fences under way: the claim says that it came too late, in the log's own words."""
    async with log_of(kafka, topic_prefix) as log:
        claiming = asyncio.create_task(log.claim(PROCESSOR_GROUP, IN))
        while not log._fences._raising:
            await asyncio.sleep(0)
        await log.revoked(PROCESSOR_GROUP)
        with pytest.raises(LogUnavailable, match="while it was being claimed"):
            await claiming
        await (await log.claim(PROCESSOR_GROUP, IN)).close()
