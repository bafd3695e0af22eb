"""The loader: every event once in the base table, whatever fails on the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from destinations.clickhouse.engine import ClickHouse, EngineError
from destinations.kit.books import all_totals
from destinations.kit.records import Dead, decode_dead
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Position, TopicPartition
from tests.unit.destinations.clickhouse.engines import Flaky, Table, clean
from tests.unit.destinations.clickhouse.loading import (
    GROUP,
    PROCESSED,
    base_rows,
    entry,
    event,
    loaded,
    loading,
)

__all__ = ["clean"]
pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    "plan",
    [
        [("before", 242)],
        [("after", 319)],
        [("half", 999)],
        [("before", 0), ("half", 210), ("after", 159)],
        [("before", 241), ("before", 241)],
        [("before", 252), ("after", 252), ("half", 252)],
        [("before", 252), ("half", 27), ("after", 27)],
    ],
    ids=str,
)
async def test_failing_inserts_leave_each_row_once(clean: ClickHouse, plan: list[tuple[str, int]]) -> None:
    """Whether rows were stored before the failure or not, the table holds each of them once, before any merge."""
    log = MemoryLog()
    ids = [f"m{n}" for n in range(11)]
    await log.append([entry(*(event(i) for i in ids))])
    async with loading(Flaky(clean, plan), log, columnar=False, merges=False):
        await loaded(log)
    assert base_rows(clean) == sorted(ids)


class Late(Flaky):
    """A server that goes on with the first insert after its client gave up waiting."""

    embedded = False

    def __init__(self, engine: ClickHouse) -> None:
        super().__init__(engine)
        self.running: threading.Thread | None = None

    def insert_block(
        self, table: Table, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
    ) -> None:
        """The first insert of events lands half a second after the client has been told nothing."""
        if self.running is not None or not table.endswith("`events`"):
            return self._engine.insert_block(table, columns, data, fmt, settings)

        def land() -> None:
            time.sleep(0.5)
            self._engine.insert_block(table, columns, data, fmt, settings)

        self.running = threading.Thread(target=land)
        self.running.start()
        raise EngineError("TimeoutError: timed out", 0)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """As the engine, and the server's list of what runs."""
        if "system.processes" not in sql:
            return super().query(sql, parameters)
        assert self._engine.query(sql) == [[0]] or self._engine.query(sql) == [["0"]], (
            "the engine understands it"
        )
        return [[int(self.running is not None and self.running.is_alive())]]


async def test_an_insert_that_lands_after_its_timeout_is_waited_for(clean: ClickHouse) -> None:
    """A slow server stores rows whose client gave up: they are not inserted a second time."""
    log, server = MemoryLog(), Late(clean)
    await log.append([entry(*(event(f"m{n}") for n in range(5)))])
    async with loading(server, log, merges=False):
        await loaded(log)
        assert server.running is not None
        server.running.join()
    assert base_rows(clean) == [f"m{n}" for n in range(5)]


async def test_a_refused_row_costs_no_neighbour(clean: ClickHouse) -> None:
    """The engine refuses one row: it goes to the dead letters with the reason, the others are loaded."""
    log = MemoryLog()
    await log.append(
        [entry(*(event(f"m{n}", properties={"x": "poison"} if n == 5 else {}) for n in range(9)))]
    )
    async with loading(Flaky(clean, refuse=b"poison"), log):
        await loaded(log)
    assert base_rows(clean) == sorted(f"m{n}" for n in range(9) if n != 5)
    letters = [
        decode_dead(r.value or b"") for r in (await log.read(TopicPartition("dead.warehouse", 0), 0)).records
    ]
    assert [
        (one.code, json.loads(bytes(one.event))["messageId"]) for one in letters if isinstance(one, Dead)
    ] == [("CLICKHOUSE_27", "m5")]
    totals = (await all_totals(log))["warehouse"]
    assert (totals.read, totals.delivered, totals.dead) == (9, 8, 1)


async def test_a_line_that_is_no_event_is_a_dead_letter(clean: ClickHouse) -> None:
    """Nothing blocks, nothing is lost."""
    log = MemoryLog()
    await log.append([entry(event("m1"), b"[1]", b"\xff nonsense", event("m2"))])
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == ["m1", "m2"]
    assert (await all_totals(log))["warehouse"].dead == 2


@pytest.mark.parametrize("stored", [0, 3, 8])
async def test_an_open_intent_is_completed_exactly(clean: ClickHouse, stored: int) -> None:
    """The predecessor died after writing down its intent, with none, some or all rows stored."""
    log = MemoryLog()
    lines = [event(f"m{n}") for n in range(8)]
    await log.append([entry(*lines)])
    if stored:
        helper = MemoryLog()
        await helper.append([entry(*lines[:stored])])
        async with loading(clean, helper):
            await loaded(helper)
    await log.append([entry(event("later"))])
    owner = await log.claim(GROUP, PROCESSED)
    intent = owner.begin()
    intent.advance(PROCESSED, Position(0, '{"to":1}'))
    await intent.commit()
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == sorted([*(f"m{n}" for n in range(8)), "later"])
    assert (await all_totals(log))["warehouse"].delivered == 9


async def test_a_token_noted_for_lost_rows_does_not_lose_them(clean: ClickHouse) -> None:
    """After a kill the engine may remember a token whose part never arrived; the table is asked, not the token."""
    log = MemoryLog()
    await log.append([entry(event("m1"))])

    class Forgetful(Flaky):
        def insert_block(
            self, table: Table, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
        ) -> None:
            super().insert_block(table, columns, data, fmt, settings)
            if table.endswith("`events`") and self.inserts == 1:
                self.command(
                    "ALTER TABLE headwater.events DROP PARTITION ID '202401'"
                )  # the rows vanish, the token stays
                raise EngineError("killed", 0)

    async with loading(Forgetful(clean), log):
        await loaded(log)
    assert base_rows(clean) == ["m1"]


@pytest.mark.parametrize("operation", ["transaction", "commit"])
@pytest.mark.parametrize("written", [False, True])
async def test_a_failing_log_loses_and_doubles_nothing(
    clean: ClickHouse, operation: Any, written: bool
) -> None:
    """Intents and commits that fail, or whose answer is lost, end in the same rows."""
    log = MemoryLog()
    log.faults.fail(operation, times=2, written=written)
    await log.append([entry(event("m1"), event("m2"))])
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == ["m1", "m2"]
