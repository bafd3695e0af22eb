"""ClickHouse is away while events flow from Kafka: the other destinations go on, and it catches up with each event once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from destinations.clickhouse import inserter
from destinations.clickhouse import loader as loader_module
from destinations.kit import runtime
from destinations.kit.books import all_totals
from destinations.kit.records import Totals
from headwater.clock import SystemClock
from headwater.log.protocol import Log
from headwater.log.topics import DESTINATION_TOTALS
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace
from tests.support import delivering, processing
from tests.support.clickhouse_server import Server
from tests.support.proxy import Proxy
from tests.support.receiver import Receiver
from tests.support.running import select

pytestmark = [pytest.mark.kafka, pytest.mark.engine, pytest.mark.slow]


def workspace(hook: str, clickhouse: int) -> Workspace:
    """A webhook and a ClickHouse server."""
    found = delivering.workspace(hook).model_dump()
    url = f"http://127.0.0.1:{clickhouse}"
    found["destinations"]["warehouse"] = {"type": "clickhouse", "url": url, "merges": False}
    return Workspace.model_validate(found)


@asynccontextmanager
async def delivering_to(wanted: Workspace, log: Log, folder: Path) -> AsyncIterator[None]:
    """The destinations process while the block runs."""
    stop, data = asyncio.Event(), DataDir(folder).make()
    task = asyncio.create_task(runtime.run(LiveWorkspace(wanted), log, data, SystemClock(), stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def until(log: Log, met: Callable[[dict[str, Totals]], bool]) -> dict[str, Totals]:
    """The counts of all destinations, once they are so; they always balance."""
    async with asyncio.timeout(processing.WAIT_S):
        while not met(found := await all_totals(log)):
            assert all(one.balances() for one in found.values()), found
            await log.wait([DESTINATION_TOTALS], 0.1)
    return found


async def test_a_server_that_is_down_slows_no_other_destination_and_is_caught_up_with(
    kafka: str,
    topic_prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten minutes are shortened to six attempts: the loader's position stands still, whatever the length, and then goes on."""
    monkeypatch.setattr(loader_module, "_RESTART_S", (0.02, 0.1))
    monkeypatch.setattr(inserter, "_BACKOFF_S", (0.01, 0.02, 0.05))
    wanted = processing.settings(kafka, topic_prefix, partitions=2)
    with Server(tmp_path / "server") as server, Proxy(server.port) as proxy:
        async with processing.kafka_log(wanted) as log, Receiver() as receiver:
            events = [delivering.event(number) for number in range(300)]
            await delivering.publish(log, events[:50])
            async with delivering_to(workspace(receiver.url, proxy.port), log, tmp_path):
                await until(log, lambda found: _delivered(found, "warehouse") == 50)
                proxy.refuse()
                tried = proxy.connections
                with caplog.at_level(logging.WARNING):
                    await delivering.publish(log, events[50:150], partition=1)
                    await delivering.publish(log, events[150:])
                    found = await until(
                        log,
                        lambda found: _delivered(found, "hook") == 300 and proxy.connections >= tried + 6,
                    )
                assert _delivered(found, "warehouse") == 50
                proxy.heal()
                await until(log, lambda found: _delivered(found, "warehouse") == 300)
        rows = select(
            server.port,
            "SELECT message_id AS id, count() AS n FROM headwater.events GROUP BY id",
            final=False,
        )
    assert sorted(receiver.ids) == sorted(event["messageId"] for event in events)
    assert {str(row["id"]): int(row["n"]) for row in rows} == {event["messageId"]: 1 for event in events}
    assert "destinations.clickhouse" in caplog.text, "it says that it waits"


def _delivered(found: dict[str, Totals], name: str) -> int:
    return found[name].delivered if name in found else 0
