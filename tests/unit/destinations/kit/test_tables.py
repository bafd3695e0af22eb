"""ClickHouse under the supervisor: loader, query interface, reload, and dead letters that are not retried."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx2
import pytest
from prometheus_client import REGISTRY

from destinations.kit import control, runtime, tables
from destinations.kit.books import all_totals
from headwater.clock import SystemClock
from headwater.errors import AlreadyRunning
from headwater.log.memory import MemoryLog
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace
from tests.support.delivering import event, publish

pytestmark = [pytest.mark.engine, pytest.mark.slow]

WAREHOUSE = {
    "workspace": "test",
    "sources": {"web": {"kind": "browser", "write_keys": ["w"]}},
    "destinations": {"warehouse": {"type": "clickhouse"}},
}
EMPTY = {**WAREHOUSE, "destinations": {}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_process_loads_answers_sql_and_survives_a_reload(tmp_path: Path) -> None:
    """Events become rows that the interface answers for; a reload keeps the loader; stopping closes everything."""
    log, live, data = (
        MemoryLog(),
        LiveWorkspace(Workspace.model_validate(WAREHOUSE)),
        DataDir(tmp_path).make(),
    )
    port, stop = _free_port(), asyncio.Event()
    await publish(log, [event(n) for n in range(50)])
    task = asyncio.create_task(runtime.run(live, log, data, SystemClock(), stop, port, "127.0.0.1"))
    try:
        await _loaded(log, task, 50)
        assert await _count(port) == 50
        live.replace(Workspace.model_validate({**WAREHOUSE, "workspace": "renamed"}))
        await publish(log, [event(n) for n in range(50, 60)])
        await _loaded(log, task, 60)
        assert await _count(port) == 60
        assert [each["restarts"] for each in await control.status(data)] == [0]
        with pytest.raises(control.Refused, match="takes no single events"):
            await control.settle_letters(data, live.current, SystemClock(), "retry", "warehouse", None)
    finally:
        stop.set()
        await task


async def _loaded(log: MemoryLog, task: asyncio.Task[None], count: int) -> None:
    async with asyncio.timeout(40):
        while (found := (await all_totals(log)).get("warehouse")) is None or found.delivered < count:
            assert not task.done()
            await log.wait(["totals.destinations"], 0.1)
    assert found.balances()


async def _count(port: int) -> int:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(
            f"http://127.0.0.1:{port}/", params={"query": "SELECT count() FROM headwater.events"}
        )
    assert answer.status_code == 200, answer.text
    return int(answer.text)


async def test_a_port_in_use_ends_the_process_with_a_clear_error(tmp_path: Path) -> None:
    """The interface cannot listen: the process does not start half."""
    live = LiveWorkspace(Workspace.model_validate(WAREHOUSE))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AlreadyRunning, match=str(port)):
            await runtime.run(
                live, MemoryLog(), DataDir(tmp_path).make(), SystemClock(), asyncio.Event(), port, "127.0.0.1"
            )


async def test_a_port_in_use_keeps_no_event_waiting_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Under a supervisor: the clash is one clear error, loading goes on, and a port that becomes free is taken."""
    monkeypatch.setattr(tables, "LISTEN_S", 0.05)
    log, live, stop = MemoryLog(), LiveWorkspace(Workspace.model_validate(EMPTY)), asyncio.Event()
    data, clock = DataDir(tmp_path).make(), SystemClock()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        task = asyncio.create_task(
            runtime.run(live, log, data, clock, stop, port, "127.0.0.1", must_listen=False)
        )
        await publish(log, [event(n) for n in range(20)])
        live.replace(Workspace.model_validate(WAREHOUSE))  # the engine is needed from now on
        await _loaded(log, task, 20)
        assert "cannot listen on 127.0.0.1" in caplog.text
    try:
        async with asyncio.timeout(20):
            while not await _listens(port):
                await asyncio.sleep(0.02)
        assert await _count(port) == 20
        lag = REGISTRY.get_sample_value("headwater_destination_lag_events", {"destination": "warehouse"})
        assert lag is not None
    finally:
        stop.set()
        await task


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
