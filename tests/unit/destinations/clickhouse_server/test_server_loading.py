"""Loading a ClickHouse server over HTTP: every event once in the base table, whatever the network or the server do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw
from prometheus_client import REGISTRY

from destinations.clickhouse import inserter
from destinations.clickhouse import loader as loader_module
from destinations.kit.books import all_totals
from destinations.kit.runtime import Fleet
from destinations.kit.tables import Tables
from headwater import profile
from headwater.clock import SystemClock
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Position
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace
from tests.support.clickhouse_faults import INSERT, Fault
from tests.unit.destinations.clickhouse.loading import (
    FAST,
    GROUP,
    PROCESSED,
    base_rows,
    entry,
    event,
    loaded,
    loading,
    until,
)
from tests.unit.destinations.clickhouse_server.conftest import USER, Warehouse, connection

pytestmark = [pytest.mark.engine, pytest.mark.slow]
IDS = [f"m{n:02}" for n in range(40)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a hundredth."""
    monkeypatch.setattr(loader_module, "_VIEWS_S", 0.05)
    monkeypatch.setattr(loader_module, "_RESTART_S", (0.02, 0.05))
    monkeypatch.setattr(inserter, "_BACKOFF_S", (0.001, 0.005, 0.01, 0.02))
    monkeypatch.setattr(inserter, "_LOOK_S", 0.05)


async def filled(partitions: int = 2) -> MemoryLog:
    """A log of 40 events, four a record, of several months, some of which cannot be columns."""
    log = MemoryLog(partitions=partitions)
    fields: list[dict[str, Any]] = [
        {"properties": {"total": 1}},
        {"properties": {"items": [{"a": 1}]}, "timestamp": "2024-02-01T00:00:00.100Z"},
    ]
    lines = [event(one, **fields[n % 2]) for n, one in enumerate(IDS)]
    await log.append([entry(*lines[n : n + 4], partition=n // 4 % partitions) for n in range(0, 40, 4)])
    return log


async def test_tables_views_people_and_counts_are_as_in_the_embedded_engine(bare: Warehouse) -> None:
    """The stock migrations and loader, over HTTP with a password: events, a view for each, users, drops, deliveries."""
    warehouse = bare
    log = await filled()
    user = profile.User("u1", {"email": (Raw(b'"a@b.test"'), 5)}, first_seen=1, last_seen=5)
    dropped = {"reason": "duplicate", "processor": "dedupe", "droppedAt": "2024-01-01T00:00:00.000Z"}
    await log.append(
        [
            entry(profile.encode(user), topic=topics.PROFILES, key=b"user:u1"),
            entry(json.dumps({**dropped, "event": json.loads(event("d1"))}).encode(), topic=topics.DROPPED),
        ]
    )
    async with loading(warehouse.engine(), log, **warehouse.config()) as loader:
        await loaded(log, (topics.PROCESSED, topics.PROFILES, topics.DROPPED))
        await until(lambda: bool(loader.views.catalog.relations) and not loader.views.dirty)
        assert loader.status() == {"destination": "warehouse", "state": "running"}
    look = warehouse.direct.query
    assert base_rows(warehouse.direct) == IDS
    await until(lambda: len(look("SELECT * FROM headwater.view_versions")) > 5)
    assert look("SELECT sum(total), count() FROM web.order_completed")[0] == [20, 40]
    assert look("SELECT id, email FROM headwater.users") == [["u1", "a@b.test"]]
    assert look("SELECT id, reason FROM headwater.dropped") == [["d1", "duplicate"]]
    totals = (await all_totals(log))["warehouse"]
    assert (totals.read, totals.delivered, totals.balances()) == (40, 40, True)


async def test_what_an_insert_says_to_the_server(warehouse: Warehouse) -> None:
    """Compressed, with a token of its own, not gathered by the server, answered at its end, and findable while it runs."""
    log = await filled()
    async with loading(warehouse.engine(), log, **warehouse.config()):
        await loaded(log)
    inserts = warehouse.faults.statements(INSERT)
    assert {one.encoding for one in inserts} == {"zstd"}
    for settings in (one.settings for one in inserts):
        assert settings["async_insert"] == "0"
        assert settings["insert_deduplicate"] == settings["wait_end_of_query"] == "1"
        assert settings["deduplicate_blocks_in_dependent_materialized_views"] == "1"
        assert settings["log_comment"].startswith("headwater headwater.events ,")
    tokens = [one.settings["insert_deduplication_token"] for one in inserts]
    assert len(set(tokens)) == len(tokens)
    assert all(token.startswith("warehouse/") and "processed:" in token for token in tokens)


FAULTS: dict[str, list[Fault]] = {
    "reset before the effect": [Fault(INSERT)],
    "reset after the effect": [Fault(INSERT, when="after")],
    "500 after the effect": [Fault(INSERT, 1000, "after")],
    "500 after the effect, again and again": [Fault(INSERT, 1000, "after", times=2)],
    "too many parts": [Fault(INSERT, 252, times=4)],
    "too many parts, told after the effect": [Fault(INSERT, 252, "after")],
    "a replica that is read-only": [Fault(INSERT, 242, times=3)],
    "timeout exceeded, before": [Fault(INSERT, 159)],
    "timeout exceeded, after": [Fault(INSERT, 159, "after")],
    "memory limit": [Fault(INSERT, 241, times=3)],
    "memory limit, after the effect": [Fault(INSERT, 241, "after")],
    "unknown status of the insert": [Fault(INSERT, 319, "after", times=2)],
    "too many partitions for one insert": [
        Fault(INSERT, 252, message="Too many partitions for single INSERT block (more than 1)")
    ],
    "a server that cannot be asked": [Fault(INSERT, 1000, "after"), Fault("SELECT log_offset", 159, times=3)],
    "connections reset while asking": [Fault(INSERT), Fault("system.processes"), Fault("SELECT log_offset")],
    "profiles": [Fault("user_profiles", 1000, "after", times=2), Fault("user_profiles", 242)],
}


@pytest.mark.parametrize("script", FAULTS.values(), ids=FAULTS)
async def test_each_event_is_there_once_after(warehouse: Warehouse, script: Sequence[Fault]) -> None:
    """One fault after another; the base table, never merged, holds each event once, and the books balance."""
    log = await filled()
    await log.append([entry(profile.encode(profile.User("u1", {})), topic=topics.PROFILES, key=b"user:u1")])
    warehouse.faults.script = [Fault(**vars(one)) for one in script]
    async with loading(warehouse.engine(), log, **warehouse.config(merges=False, views=False)):
        await loaded(log, (topics.PROCESSED, topics.PROFILES))
    assert warehouse.faults.script == [], "every fault was met"
    assert base_rows(warehouse.direct) == IDS
    assert warehouse.direct.query("SELECT id FROM headwater.user_profiles FINAL") == [["u1"]]
    totals = (await all_totals(log))["warehouse"]
    assert (totals.delivered, totals.dead, totals.balances()) == (40, 0, True)


async def test_an_insert_that_goes_on_after_the_client_gave_up_is_waited_for(warehouse: Warehouse) -> None:
    """The server is slower than `timeout_s`; its insert, seen in system.processes, takes effect later: rows come once."""
    log = await filled()
    async with loading(
        warehouse.engine(timeout_s=1), log, **warehouse.config(merges=False, views=False, timeout_s=1)
    ):
        await until(lambda: bool(warehouse.faults.met))
        await loaded(log)
        warehouse.faults.plan(INSERT, delay_s=2.4)
        await log.append([entry(event("slow"))])
        await loaded(log)
    assert warehouse.faults.script == []
    assert len(warehouse.faults.statements("system.processes")) > 3
    assert base_rows(warehouse.direct) == [*IDS, "slow"]


async def test_an_insert_that_comes_late_is_held_back_by_its_token(warehouse: Warehouse) -> None:
    """A copy of a request that the network delivers after the retry: the retry had the same token, so it is dropped."""
    log = await filled(partitions=1)
    warehouse.faults.plan(INSERT)
    async with loading(warehouse.engine(), log, **warehouse.config(merges=False, views=False)):
        await loaded(log)
    first, second = warehouse.faults.statements(INSERT)[:2]
    assert first.settings["insert_deduplication_token"] == second.settings["insert_deduplication_token"]
    repeated = warehouse.faults.repeat(first)
    assert repeated == 200
    assert base_rows(warehouse.direct) == IDS


@pytest.mark.parametrize("stored", [0, 3, 40])
async def test_what_a_loader_that_died_began_is_completed_on_a_server(
    warehouse: Warehouse, stored: int
) -> None:
    """Its intent is in the log; none, some or all of the rows are in the table; the next loader inserts the others."""
    lines = [event(one) for one in IDS]
    if stored:
        before = MemoryLog()
        await before.append([entry(*lines[:stored])])
        async with loading(warehouse.engine(), before, **warehouse.config(merges=False, views=False)):
            await loaded(before)
    log = MemoryLog()
    await log.append([entry(*lines)])
    await log.store(GROUP, {PROCESSED: Position(0, '{"to":1}')})
    async with loading(warehouse.engine(), log, **warehouse.config(merges=False, views=False)):
        await loaded(log)
    assert base_rows(warehouse.direct) == IDS


async def test_a_server_that_is_away_holds_up_no_other_destination(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    """Two warehouses on one log: the one whose server is away waits, says so, and the other has every event."""
    warehouse.faults.down()
    urls = {"away": warehouse.faults.port, "there": warehouse.server.port}
    live = LiveWorkspace(
        Workspace.model_validate(
            {
                "workspace": "acme",
                "sources": {"web": {"kind": "browser", "write_keys": ["a"]}},
                "destinations": {
                    name: {
                        "type": "clickhouse",
                        "url": f"http://127.0.0.1:{port}",
                        "views": False,
                        **USER,
                        **FAST,
                    }
                    for name, port in urls.items()
                },
            }
        )
    )
    log, stop, clock = await filled(), asyncio.Event(), SystemClock()
    fleet = Fleet(live, log, clock, Tables(live, log, DataDir(tmp_path), clock, None, "127.0.0.1"))
    running = asyncio.create_task(fleet.run(stop))
    await until(
        lambda: (
            warehouse.direct.query("EXISTS headwater.events") == [[1]] and base_rows(warehouse.direct) == IDS
        )
    )
    await until(lambda: fleet.running["away"].status()["state"] == "waiting")
    assert "refused" in fleet.running["away"].status()["reason"]
    assert fleet.running["there"].status()["state"] == "running"
    stop.set()
    await asyncio.wait_for(running, 30)


async def test_a_busy_server_gets_larger_inserts_later(warehouse: Warehouse) -> None:
    """Too many parts: attempts back off, batches grow, operators see why, and all of it passes again."""
    log = await filled()
    labels = {"destination": "warehouse", "code": "252"}
    before = REGISTRY.get_sample_value("headwater_destination_slowdowns_total", labels) or 0
    warehouse.faults.plan(INSERT, code=252, times=2, message="Too many parts (3000)")
    async with loading(warehouse.engine(), log, **warehouse.config(views=False)) as loader:
        await loaded(log)
        assert loader.pressure.factor == 4
        for number in range(3):
            await log.append([entry(event(f"after{number}"))])
            await loaded(log)
        assert loader.pressure.factor == 1
        assert loader.status()["state"] == "running"
    assert REGISTRY.get_sample_value("headwater_destination_slowdowns_total", labels) == before + 2
    sizes = [one.size for one in warehouse.faults.statements(INSERT)[:3]]
    assert len(set(sizes)) == 1, "the same insert each time, never halves"


async def test_a_long_outage_loses_nothing_and_the_backlog_is_loaded_afterwards(warehouse: Warehouse) -> None:
    """The server is away for a hundred attempts while events come; it comes back, and all of them are there, once."""
    log = await filled(partitions=1)
    async with loading(warehouse.engine(), log, **warehouse.config(merges=False, views=False)) as loader:
        await loaded(log)
        warehouse.faults.down()
        more = [f"x{n:03}" for n in range(200)]
        for one in more[:100]:
            await log.append([entry(event(one))])
        await until(lambda: loader.status()["state"] == "waiting")
        assert "refused" in loader.status()["reason"].lower()
        paused = {"destination": "warehouse"}
        assert REGISTRY.get_sample_value("headwater_destination_paused", paused) == 1
        for one in more[100:]:
            await log.append([entry(event(one))])
        warehouse.faults.up()
        await loaded(log)
        assert loader.status()["state"] == "running"
    assert base_rows(warehouse.direct) == [*IDS, *more]


async def test_a_server_that_is_down_at_the_start_is_waited_for(warehouse: Warehouse) -> None:
    """The destination starts before the server does."""
    log = await filled()
    warehouse.faults.down()
    async with loading(warehouse.engine(), log, **warehouse.config(views=False)) as loader:
        await until(lambda: loader.status()["state"] == "waiting")
        warehouse.faults.up()
        await loaded(log)
    assert base_rows(warehouse.direct) == IDS


async def test_an_insert_that_waits_does_not_hold_up_a_process_that_joins(warehouse: Warehouse) -> None:
    """ClickHouse is away for one of two processes; the other joins, takes over half of the partitions and repairs them."""
    log = await filled()
    settings = warehouse.config(merges=False, views=False)
    async with loading(warehouse.engine(), log, **settings) as first:
        await loaded(log)
        warehouse.faults.down()
        await log.append([entry(event("a0")), entry(event("b0"), partition=1)])
        await until(lambda: first.status()["state"] == "waiting")
        direct = {**settings, "url": f"http://127.0.0.1:{warehouse.server.port}"}
        async with loading(connection(direct), log, **direct):
            await until(lambda: len(base_rows(warehouse.direct)) == len(IDS) + 1)
            assert first.status()["state"] == "waiting"
            warehouse.faults.up()
            await loaded(log)
    assert base_rows(warehouse.direct) == sorted([*IDS, "a0", "b0"])


async def test_views_that_an_outage_held_up_are_made_later(warehouse: Warehouse) -> None:
    """A view is not given up because the server was away when it was to be made."""
    log = await filled()
    warehouse.faults.plan("CREATE OR REPLACE VIEW `web`", code=0, times=2)
    async with loading(warehouse.engine(), log, **warehouse.config()) as loader:
        await loaded(log)
        await until(lambda: not warehouse.faults.script and not loader.views.dirty)
    await until(lambda: len(warehouse.direct.query("SELECT * FROM web.order_completed")) == 40)


MISCONFIGURED = {
    "wrong password": (INSERT, 516, "loader: Authentication failed", "check username and password"),
    "no right to insert": (
        INSERT, 497,
        "loader: Not enough privileges. To execute this query, it's necessary to have the grant INSERT(type, event) ON headwater.events",
        "GRANT INSERT(type, event) ON headwater.events TO loader",
    ),
    "database gone": ("CREATE TABLE", 81, "Database headwater does not exist", "create it"),
    "user may only read": ("CREATE DATABASE", 164, "Cannot execute query in readonly mode", "read-only"),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "code", "message", "said"), MISCONFIGURED.values(), ids=MISCONFIGURED)
async def test_what_only_a_person_can_mend_pauses_the_destination_and_says_how(
    warehouse: Warehouse, statement: str, code: int, message: str, said: str
) -> None:
    """Nothing is lost or dead; once it is mended, loading goes on by itself."""
    log = await filled()
    warehouse.faults.plan(statement, code=code, times=1_000_000, message=message)
    async with loading(warehouse.engine(), log, **warehouse.config(views=False)) as loader:
        await until(lambda: loader.status()["state"] == "paused")
        assert said in loader.status()["reason"]
        warehouse.faults.script.clear()
        await loaded(log)
    assert base_rows(warehouse.direct) == IDS
    assert (await all_totals(log))["warehouse"].dead == 0


async def test_a_wrong_password_is_told_by_the_server_itself(warehouse: Warehouse) -> None:
    """The real answer, not a planned one."""
    log = await filled()
    config = warehouse.config(password="guessed")
    async with loading(warehouse.engine(password="guessed"), log, **config) as loader:
        await until(lambda: loader.status()["state"] == "paused")
        assert "check username and password" in loader.status()["reason"]
        assert "guessed" not in loader.status()["reason"]


async def test_a_server_that_is_too_old_is_refused(bare: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made in it, with both versions."""
    from destinations.clickhouse import engine

    monkeypatch.setattr(engine, "OLDEST", (99, 1))
    async with loading(bare.engine(), await filled(), **bare.config()) as loader:
        await until(lambda: loader.status()["state"] == "paused")
        assert "has version 26.9" in loader.status()["reason"]
        assert "needs 99.1 or newer" in loader.status()["reason"]
    assert bare.direct.query("SELECT name FROM system.databases WHERE name = 'headwater'") == []
