"""What became of acknowledged events on Kafka, seen by a plain consumer that knows nothing of Headwater's own log."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

READ_S = 120.0
SHOWN = 20  # ids that a report lists


@dataclass(slots=True)
class Topics:
    """Events in the topics as `read_committed` shows them; `dropped` by messageId and reason."""

    accepted: int = 0
    processed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def reasons(self) -> dict[str, int]:
        """How many were dropped for each reason."""
        counts: Counter[str] = Counter()
        for (_, reason), number in self.dropped.items():
            counts[reason] += number
        return dict(counts)


def look(bootstrap: str, prefix: str = "") -> Topics:
    """Read `events.accepted`, `events.processed` and `events.dropped` from beginning to end."""
    return asyncio.run(read_topics(bootstrap, prefix))


async def read_topics(bootstrap: str, prefix: str = "") -> Topics:
    """As `look`, inside an event loop."""
    seen = Topics()
    async for line in lines(bootstrap, f"{prefix}events.accepted"):
        seen.accepted += line.keys() != {"shared", "bodies"}  # those lines stand before events, and are none
    async for line in lines(bootstrap, f"{prefix}events.processed"):
        seen.processed[line["messageId"]] += 1
    async for line in lines(bootstrap, f"{prefix}events.dropped"):
        seen.dropped[str(line["event"].get("messageId")), line["reason"]] += 1
    return seen


async def lines(bootstrap: str, topic: str) -> AsyncIterator[dict[str, Any]]:
    """Every line of every committed record of a topic that was there when this began."""
    consumer = AIOKafkaConsumer(  # without a group: it gets all partitions
        topic,
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        async with asyncio.timeout(READ_S):
            ends = await consumer.end_offsets(consumer.assignment())
            while not await _at_the_end(consumer, ends):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        for line in (record.value or b"").split(b"\n"):
                            yield json.loads(line)
    finally:
        await consumer.stop()


async def _at_the_end(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    for part, end in ends.items():
        if await consumer.position(part) < end:
            return False
    return True


def verdict(
    acknowledged: Collection[str], processed: Mapping[str, int], rows: Mapping[str, int]
) -> dict[str, Any]:
    """What is lost and what is there twice, in `events.processed` and in ClickHouse's base table."""
    faults = {
        "lost_in_processed": sorted(set(acknowledged) - processed.keys()),
        "twice_in_processed": sorted(key for key, number in processed.items() if number > 1),
        "lost_in_table": sorted(set(acknowledged) - rows.keys()),
        "twice_in_table": sorted(key for key, number in rows.items() if number > 1),
        "in_table_only": sorted(rows.keys() - processed.keys()),
    }
    return {name: {"count": len(ids), "ids": ids[:SHOWN]} for name, ids in faults.items()}


def books(seen: Topics, rows: int, funnel: Mapping[str, Any], destination: str) -> list[str]:
    """Where the topics, the table and `headwater status` disagree; empty where they balance."""
    flow = funnel["destinations"][destination]
    processed, dropped = seen.processed.total(), seen.dropped.total()
    sums = {
        "accepted in the topic and in status": (seen.accepted, funnel["accepted"]),
        "accepted and processed + dropped": (seen.accepted, processed + dropped),
        "in flight and nothing": (funnel["in_flight"], 0),
        "processed in the topic and in status": (processed, funnel["processed"]),
        "reasons of drops in the topic and in status": (seen.reasons, funnel["dropped"]),
        "processed and rows": (processed, rows),
        "processed and read by the destination": (processed, flow["read"]),
        "processed and delivered": (processed, flow["delivered"]),
        "adds_up in status and yes": (funnel["adds_up"], True),
    }
    return [f"{what}: {one} and {other}" for what, (one, other) in sums.items() if one != other]
