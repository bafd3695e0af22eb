"""A processor of this process on a real Kafka: what was accepted, what came of it, and what the topics hold afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from headwater import codec
from headwater.clock import SystemClock
from headwater.event import encode_accepted
from headwater.log.kafka import KafkaLog
from headwater.log.protocol import Entry, Log, Record, TopicPartition
from headwater.log.retention import Policy
from headwater.log.topics import ACCEPTED, DROPPED, PROCESSED
from headwater.paths import DataDir
from headwater.run.funnel import Funnel, funnel
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import KafkaLogSettings
from processors import worker
from tests.support.rig import accepted, workspace

WAIT_S = 60.0
WEEK_S = 7 * 86_400.0


def settings(bootstrap: str, prefix: str, partitions: int = 1) -> KafkaLogSettings:
    """A log on one broker under topics of its own."""
    return KafkaLogSettings(
        brokers=[bootstrap],
        partitions=partitions,
        replication=1,
        min_insync_replicas=1,
        topic_prefix=prefix,
    )


def kafka_log(wanted: KafkaLogSettings) -> KafkaLog:
    """The log; topics are made when it is opened."""
    return KafkaLog(wanted, policy=lambda: Policy(WEEK_S, folded_s=WEEK_S))


def line(message_id: str) -> bytes:
    """An event as the collector writes it with a header of its own."""
    now = SystemClock().now_ms()
    return encode_accepted(accepted(0, message_id, received_ms=now))


async def accept(log: Log, *message_ids: str) -> None:
    """Write events to the accepted topic, a record each."""
    await log.append([Entry(ACCEPTED, 0, Record(line(one))) for one in message_ids])


@asynccontextmanager
async def processing(log: Log, folder: Path) -> AsyncIterator[asyncio.Task[None]]:
    """Run a processor on a state folder while the block runs; leaving it is a graceful stop."""
    stop = asyncio.Event()
    data = DataDir(folder).make()
    task = asyncio.create_task(worker.run(LiveWorkspace(workspace()), log, data, SystemClock(), stop))
    try:
        yield task
    finally:
        stop.set()
        await task


async def balanced(log: Log, accepted_events: int, destinations: Iterable[str] = ()) -> Funnel:
    """The funnel, once so many events were accepted and none is in flight; it adds up."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = await funnel(log, destinations, SystemClock().now_ms())
            if found.in_flight == 0 and found.accepted >= accepted_events:
                assert found.adds_up, found
                assert found.accepted == accepted_events, found
                return found
            await log.wait([PROCESSED, DROPPED], 0.1)


async def lines_of(log: Log, topic: str, partition: int = 0) -> list[dict[str, Any]]:
    """Every event line of a partition."""
    tp = TopicPartition(topic, partition)
    offset, end = await log.bounds(tp)
    found: list[dict[str, Any]] = []
    while offset < end:
        batch = await log.read(tp, offset)
        offset = batch.next_offset
        found += [codec.loads(text) for r in batch.records for text in (r.value or b"").split(b"\n")]
    return found


async def processed_ids(log: Log) -> list[str]:
    """The messageIds in the processed topic, as often as they stand there."""
    return [one["messageId"] for one in await lines_of(log, PROCESSED)]


async def remove_before(wanted: KafkaLogSettings, topic: str, offset: int, partition: int = 0) -> None:
    """Remove records of a partition as retention does: DeleteRecords moves the log's beginning."""
    admin = AIOKafkaAdminClient(bootstrap_servers=wanted.brokers)
    await admin.start()
    try:
        where = KafkaPartition(wanted.topic_prefix + topic, partition)
        await admin.delete_records({where: RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def produce(
    wanted: KafkaLogSettings,
    topic: str,
    *values: bytes | None,
    headers: list[tuple[str, bytes]] | None = None,
    key: bytes = b"foreign",
) -> None:
    """Write records as somebody else's producer would."""
    async with AIOKafkaProducer(bootstrap_servers=wanted.brokers, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(
                wanted.topic_prefix + topic, value, key=key, partition=0, headers=headers or []
            )
