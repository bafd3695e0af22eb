"""A loader on a log in memory and the real engine, for tests that say what goes in and ask what is in the table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from destinations.clickhouse import loader
from destinations.clickhouse.columns import TYPED
from destinations.clickhouse.config import Config
from destinations.clickhouse.engine import Engine
from destinations.clickhouse.mapping import Row, columns_of
from headwater.clock import SystemClock
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace

GROUP = "destination.warehouse"
FAST: dict[str, Any] = {"min_wait_s": 0.01, "max_wait_s": 0.05}
TIME = "2024-01-01T00:00:00.100Z"


def cells_of(row: Row) -> list[Any]:
    """The cells of one row in the order of `columns.TYPED`; null where the column is left out."""
    found = columns_of([row])
    found["context"] = [bytes(row.event.context).decode()]
    return [found[column.name][0] if column.name in found else None for column in TYPED]


def workspace(**destination: Any) -> LiveWorkspace:
    """Two sources and a warehouse."""
    return LiveWorkspace(
        Workspace.model_validate(
            {
                "workspace": "acme",
                "sources": {
                    "web": {"kind": "browser", "write_keys": ["a"]},
                    "api": {"kind": "server", "write_keys": ["b"]},
                },
                "destinations": {"warehouse": {"type": "clickhouse", **destination}},
            }
        )
    )


def event(message_id: str, **fields: Any) -> bytes:
    """The line of a processed event."""
    common = {
        "type": "track", "messageId": message_id, "sourceId": "web", "channel": "browser", "receivedAt": TIME,
        "timestamp": TIME, "anonymousId": "a", "event": "Order Completed", "context": {},
    }  # fmt: skip
    return json.dumps({**common, **fields}).encode()


def entry(
    *lines: bytes, topic: str = topics.PROCESSED, partition: int = 0, key: bytes | None = None
) -> Entry:
    """One record of those lines."""
    return Entry(topic, partition, Record(b"\n".join(lines), key=key, events=len(lines)))


@asynccontextmanager
async def loading(
    engine: Engine, log: MemoryLog, live: LiveWorkspace | None = None, **config: Any
) -> AsyncIterator[loader.Loader]:
    """A loader that runs until the block ends."""
    made = loader.build(
        "warehouse",
        Config(**{**FAST, **config}),
        live or workspace(),
        log,
        DataDir(Path("unused")),
        SystemClock(),
        engine,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(made.run(stop))
    try:
        yield made
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def loaded(log: MemoryLog, names: Sequence[str] = (topics.PROCESSED,)) -> None:
    """Wait until the group has read everything and no intent is open."""
    async with asyncio.timeout(30):
        while True:
            lag = await log.lag(GROUP, names)
            notes = [await log.committed(GROUP, one.tp) for one in lag]
            if not any(one.events for one in lag) and not any(note and note.metadata for note in notes):
                return
            await log.wait([topics.DESTINATION_TOTALS], 0.05)


async def until(true: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


def base_rows(engine: Engine, database: str = "headwater") -> list[str]:
    """The messageIds in the base table itself, duplicates and all."""
    return sorted(row[0] for row in engine.query(f"SELECT message_id FROM {database}.events"))


PROCESSED = TopicPartition(topics.PROCESSED, 0)
