"""What ClickHouse tells of an event whose records the log no longer holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from destinations.clickhouse.engine import open_embedded
from destinations.clickhouse.http import serve
from destinations.clickhouse.migrate import migrate
from destinations.clickhouse.migrations import Target
from headwater.clock import ManualClock
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.run.journey import Journey
from headwater.run.recall import NotAnswered, recall
from tests.unit.destinations.clickhouse.loading import TIME, entry, event, loaded, loading

pytestmark = pytest.mark.engine
ODD = "tab\tquote's \"back\\slash\n"


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """The query interface over an engine that was loaded from a log which is gone."""
    engine = open_embedded(tmp_path)
    try:
        migrate(engine, Target(), ManualClock())
        log = MemoryLog()
        dropped = {
            "reason": "duplicate",
            "processor": "dedupe",
            "droppedAt": TIME,
            "event": json.loads(event("m1")),
        }
        await log.append([entry(event("other")), entry(event("m1"), event(ODD))])
        await log.append([entry(json.dumps(dropped).encode(), topic=topics.DROPPED)])
        async with loading(engine, log):
            await loaded(log, (topics.PROCESSED, topics.DROPPED))
        server = serve(tmp_path, port=0)
        await server.start()
        try:
            yield server.port
        finally:
            await server.stop()
    finally:
        engine.close()


async def ask(port: int, message_id: str) -> Journey:
    """Recall, beside the server that answers in this loop."""
    return await asyncio.to_thread(recall, port, message_id, ["warehouse"])


async def test_an_event_older_than_the_log_is_recalled(port: int) -> None:
    """Processed, dropped with its reason, and loaded; odd ids are found, unknown ones are not."""
    found = await ask(port, "m1")
    processed, dropped = found.stops
    assert (processed.stage, processed.at, processed.source, processed.type, processed.name) == (
        *("processed", TIME, "web", "track", "Order Completed"),
    )
    assert (processed.partition, processed.offset, processed.kept_in) == (0, 1, "clickhouse")
    assert (dropped.stage, dropped.processor, dropped.reason) == ("dropped", "dedupe", "duplicate")
    assert [(one.destination, one.state, len(one.attempts)) for one in found.destinations] == [
        ("warehouse", "delivered", 1)
    ]
    assert len((await ask(port, ODD)).stops) == 1
    nothing = await ask(port, "nobody")
    assert (nothing.stops, nothing.destinations) == ([], [])


def test_an_interface_that_does_not_answer_is_named() -> None:
    """Nothing listens there: the message has the port and the next step."""
    with pytest.raises(NotAnswered, match=r"ClickHouse on port 1 does not answer.*headwater doctor"):
        recall(1, "m1", [])
