"""The loader: every event once in the base table, and counted; people, drops and deliveries in theirs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import Raw

from destinations.clickhouse.engine import ClickHouse
from destinations.kit import dlq
from destinations.kit.books import Books, all_totals
from headwater import profile
from headwater.clock import SystemClock
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import TopicPartition
from tests.support.delivering import letters_of
from tests.unit.destinations.clickhouse.engines import TIME_TEXT, clean
from tests.unit.destinations.clickhouse.loading import (
    base_rows,
    entry,
    event,
    loaded,
    loading,
    until,
    workspace,
)

__all__ = ["clean"]
pytestmark = pytest.mark.engine


async def test_every_event_is_loaded_once_and_counted(clean: ClickHouse) -> None:
    """Several partitions, records of several events, and books that balance."""
    log = MemoryLog(partitions=2)
    ids = [f"m{n}" for n in range(40)]
    await log.append([entry(*(event(i) for i in ids[n : n + 4]), partition=n % 2) for n in range(0, 40, 4)])
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == sorted(ids)
    totals = (await all_totals(log))["warehouse"]
    assert (totals.read, totals.delivered, totals.balances()) == (40, 40, True)


async def test_what_arrives_later_is_loaded_soon(clean: ClickHouse) -> None:
    """An event sent while the loader runs can be queried."""
    log = MemoryLog()
    async with loading(clean, log):
        await log.append([entry(event("first"))])
        await loaded(log)
        await log.append([entry(event("second"))])
        await until(lambda: base_rows(clean) == ["first", "second"])


async def test_history_of_many_years_fits_one_flush(clean: ClickHouse) -> None:
    """A batch of two hundred months is split by partition; the engine would refuse it whole."""
    log = MemoryLog()
    lines = [
        event(f"m{y}-{m}", timestamp=f"{y}-{m:02d}-15T00:00:00.000Z")
        for y in range(2005, 2022)
        for m in range(1, 13)
    ]
    await log.append([entry(*lines)])
    async with loading(clean, log):
        await loaded(log)
    assert len(base_rows(clean)) == len(lines)


WANTED: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"All": False}, True),
    ({"Warehouses": {"all": False}}, False),
    ({"Warehouses": {"warehouseIds": ["warehouse"]}}, True),
    ({"Warehouses": {"warehouseIds": ["other"]}}, False),
    ({"ClickHouse": False}, False),
]


async def test_integrations_are_read_as_warehouses_do(clean: ClickHouse) -> None:
    """All:false does not keep events from a warehouse; the Warehouses object does."""
    log = MemoryLog()
    await log.append([entry(*(event(f"m{n}", integrations=value) for n, (value, _) in enumerate(WANTED)))])
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == [f"m{n}" for n, (_, wanted) in enumerate(WANTED) if wanted]
    assert (await all_totals(log))["warehouse"].filtered == {"FILTERED_BY_INTEGRATIONS_OBJECT": 3}


async def test_filter_and_unconnected_sources_are_counted(clean: ClickHouse) -> None:
    """What the workspace leaves out has its reason."""
    log = MemoryLog()
    await log.append([entry(event("m1"), event("m2", event="Other"), event("m3", sourceId="gone"))])
    async with loading(clean, log, workspace(filter='event = "Order Completed"')):
        await loaded(log)
    assert base_rows(clean) == ["m1"]
    assert (await all_totals(log))["warehouse"].filtered == {
        "FILTERED_BY_RULES": 1,
        "SOURCE_NOT_CONNECTED": 1,
    }


def _profiles() -> list[tuple[str, bytes | None]]:
    cause = profile.Cause("m1", "identify", 5)
    rows: list[profile.Row] = [
        profile.User(
            "u1", {"email": (Raw(b'"a@b.test"'), 5), "gone": (Raw(b"null"), 5)}, first_seen=1, last_seen=5
        ),
        profile.Account("g1", {"name": (Raw(b'"Acme"'), 5)}, first_seen=1, last_seen=5),
        profile.Membership("g1", "u1", joined_at=5, confirmed_at=5, cause=cause),
        profile.Identity("a1", "u1", 5, cause),
        profile.Identity("a2", None),
    ]
    return [(profile.key_of(row), profile.encode(row)) for row in rows]


async def test_profiles_drops_and_deliveries_have_their_tables(clean: ClickHouse) -> None:
    """People, accounts, memberships, identities, drops and deliveries can be queried, newest state only."""
    log = MemoryLog()
    dropped = json.dumps(
        {
            "reason": "duplicate",
            "processor": "dedupe",
            "droppedAt": TIME_TEXT,
            "event": json.loads(event("d1")),
        }
    )
    await log.append(
        [entry(value or b"", topic=topics.PROFILES, key=key.encode()) for key, value in _profiles()]
    )
    newer = profile.User("u1", {"email": (Raw(b'"new@b.test"'), 9)}, first_seen=1, last_seen=9)
    await log.append([entry(profile.encode(newer), topic=topics.PROFILES, key=b"user:u1")])
    await log.append([entry(dropped.encode(), topic=topics.DROPPED), entry(event("m1"))])
    async with loading(clean, log) as loader:
        await until(lambda: len(clean.query("SELECT * FROM headwater.deliveries")) == 1)
        await until(
            lambda: (
                not loader.views.dirty
                and bool(
                    clean.query(
                        "SELECT 1 FROM system.columns WHERE database = 'headwater' AND table = 'users' AND name = 'email'"
                    )
                )
            )
        )
    assert clean.query("SELECT id, email FROM headwater.users") == [["u1", "new@b.test"]]
    assert clean.query("SELECT id, name FROM headwater.accounts") == [["g1", "Acme"]]
    assert clean.query("SELECT group_id, user_id, removed_at FROM headwater.memberships") == [
        ["g1", "u1", None]
    ]
    assert clean.query("SELECT anonymous_id, user_id FROM headwater.identities") == [["a1", "u1"]]
    assert clean.query("SELECT id, reason, event_text FROM headwater.dropped") == [
        ["d1", "duplicate", "Order Completed"]
    ]
    assert clean.query("SELECT destination, outcome, events FROM headwater.deliveries") == [
        ["warehouse", "delivered", 1]
    ]


async def test_loading_its_own_deliveries_comes_to_rest(clean: ClickHouse) -> None:
    """A delivery record is loaded, which makes no further delivery record."""
    log = MemoryLog()
    await log.append([entry(event("m1"))])
    async with loading(clean, log):
        await loaded(log, (topics.PROCESSED, topics.DELIVERIES))
        await log.wait([topics.DELIVERIES], 0.3)
        assert (await log.bounds(TopicPartition(topics.DELIVERIES, 0))).end <= 2


async def test_a_dead_letter_of_a_side_topic_is_counted_like_any_other(clean: ClickHouse) -> None:
    """What is listed as dead is in the counts, so that discarding it brings them to zero, not below."""
    log = MemoryLog()
    await log.append([entry(b"no json", topic=topics.DROPPED)])
    async with loading(clean, log):
        async with asyncio.timeout(20):
            while not (await letters_of(log, "warehouse")):
                await log.wait([topics.DESTINATION_TOTALS], 0.05)
        await dlq.discard(log, Books.of(log, "warehouse"), SystemClock())
    totals = (await all_totals(log))["warehouse"]
    assert (totals.dead, totals.discarded, totals.balances()) == (0, 1, True)
