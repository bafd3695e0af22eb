"""The rights that `headwater clickhouse grants` prints: enough for all that the loader does, and none that it does not need."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from destinations.clickhouse import grants, inserter
from destinations.clickhouse.engine import ClickHouse, EngineError
from destinations.clickhouse.migrations import Target
from headwater import profile
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Position
from tests.support.clickhouse_faults import INSERT, Faults, Request
from tests.support.clickhouse_server import CLUSTER, Server
from tests.unit.destinations.clickhouse.loading import (
    GROUP,
    PROCESSED,
    base_rows,
    entry,
    event,
    loaded,
    loading,
    until,
)
from tests.unit.destinations.clickhouse_server.conftest import connection

pytestmark = [pytest.mark.engine, pytest.mark.slow]
SOURCES = ("web", "api")
# What this stand-in for a server needs by itself: it hands data over in files, and has a table for system.replicas.
OF_THE_STAND_IN = ("GRANT READ ON FILE", "GRANT SELECT ON stand_in.*")
# Every kind of statement that the loader sends, and the right it takes; `None`: what everybody may do.
KINDS: dict[str, tuple[str, ...]] = {
    r"SELECT version\(\)": (),
    r"SELECT 1\b": (),
    r"SELECT name, value, readonly .*FROM system\.settings": ("SELECT ON system.settings",),
    r"CREATE DATABASE IF NOT EXISTS": ("CREATE DATABASE",),
    r"CREATE TABLE IF NOT EXISTS": ("CREATE TABLE", "TABLE ENGINE"),
    r"CREATE OR REPLACE VIEW": ("CREATE VIEW", "DROP VIEW"),
    r"ALTER TABLE .*(MODIFY SETTING|RESET SETTING)": ("ALTER MODIFY SETTING",),
    r"INSERT INTO": ("INSERT",),
    r"SELECT .* FROM `?headwater`?\.": ("SELECT",),
    r"SELECT log_offset, log_line": ("SELECT",),
    r"SELECT engine_full FROM system\.tables": ("SELECT ON system.tables",),
    r"EXISTS TABLE": ("SELECT",),
    r"SELECT count\(\) FROM .*system\.processes": ("SELECT ON system.processes",),
    r"SELECT uniqExact\(shard_num\), .* FROM system\.clusters": ("SELECT ON system.clusters",),
    r"SELECT countIf\(whole\).*system\.replicas": ("SELECT ON system.replicas",),
    r"(?s).*clusterAllReplicas": ("CREATE TEMPORARY TABLE", "READ, WRITE ON REMOTE"),
    r"(?s).*ON CLUSTER": ("CLUSTER",),
}


def needed(requests: Iterable[Request]) -> set[str]:
    """The rights that these statements take; an AssertionError for a kind that is not in the list."""
    found: set[str] = set()
    for request in requests:
        kinds = [
            rights for pattern, rights in KINDS.items() if re.match(pattern, request.statement, re.DOTALL)
        ]
        assert kinds, f"a statement of a new kind, give it a line and its rights: {request.statement[:300]}"
        found.update(right for rights in kinds for right in rights)
    return found


def given(rights: Iterable[str]) -> set[str]:
    """The single rights in GRANT statements; those on tables of the system with their table."""
    found: set[str] = set()
    for text in (right.removeprefix("GRANT ") for right in rights):
        privileges, _, where = text.partition(" ON ")
        if where.startswith("system.") or where == "REMOTE":
            found.add(text)
        else:
            found.update(privileges.split(", "))
    return found


async def everything(engine: ClickHouse, faults: Faults, config: dict[str, Any]) -> None:
    """All that a loader does: tables, views, rows of all kinds, a repair, the change of `merges`."""
    log = MemoryLog()
    user = profile.User("u1", {"email": (Raw(b'"a@b.test"'), 5)}, first_seen=1, last_seen=5)
    await log.append([entry(event("m1"), event("m2", sourceId="api", properties={"x": [{"y": 1}]}))])
    await log.append([entry(profile.encode(user), topic=topics.PROFILES, key=b"user:u1")])
    faults.plan(INSERT, code=1000, when="after")
    async with loading(engine, log, **config) as loader:
        await loaded(log, (topics.PROCESSED, topics.PROFILES))
        await until(lambda: not loader.views.dirty)
        assert loader.status()["state"] == "running"
    async with loading(engine, log, **{**config, "merges": False}):
        await log.append([entry(event("m3"))])
        await loaded(log)
    async with loading(engine, log, **config):
        await log.append([entry(event("m4"))])
        await loaded(log)


@pytest.mark.parametrize("cluster", ["", CLUSTER], ids=["server", "cluster"])
async def test_the_rights_are_enough_and_each_is_needed(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine itself holds the loader to them; the statements it sent, kind by kind, take exactly them."""
    monkeypatch.setattr(inserter, "_BACKOFF_S", (0.001,))
    target = Target(cluster=cluster)
    rights = grants.loader_rights(target, SOURCES)
    options = {"cluster": bool(cluster), "grants": [*rights, *OF_THE_STAND_IN]}
    with Server(tmp_path, **options) as server, Faults(server.port) as faults:
        config = {"url": f"http://127.0.0.1:{faults.port}", **({"cluster": cluster} if cluster else {})}
        engine = connection(config)
        await everything(engine, faults, config)
        assert base_rows(engine) == ["m1", "m2", "m3", "m4"]
        assert engine.query("SELECT count() FROM headwater.users") == [[1]]
        assert "Not enough privileges" not in caplog.text
        assert needed(faults.met) == given(rights)
        for forbidden in (
            "DROP TABLE headwater.schema_migrations",
            "CREATE DATABASE other",
            "DROP DATABASE web",
        ):
            with pytest.raises(EngineError, match="Not enough privileges"):
                engine.command(forbidden)
        engine.close()


async def test_tables_that_may_not_be_seen_are_not_taken_for_missing(tmp_path: Path) -> None:
    """A user who lost its rights is told so; nothing is loaded from the beginning once more because of it."""
    log = MemoryLog()
    await log.append([entry(event("m1"))])
    await log.store(GROUP, {PROCESSED: Position(1)})
    seen = [right for right in grants.loader_rights(Target(), SOURCES) if "ON system." in right]
    with Server(tmp_path, grants=[*seen, *OF_THE_STAND_IN]) as server:
        config: dict[str, Any] = {"url": f"http://127.0.0.1:{server.port}"}
        engine = connection(config)
        async with loading(engine, log, **config) as loader:
            await until(lambda: loader.status()["state"] == "paused")
            assert (
                "type in ClickHouse: GRANT SHOW TABLES ON headwater.schema_migrations"
                in loader.status()["reason"]
            )
        engine.close()
    assert await log.committed(GROUP, PROCESSED) == Position(1)


@pytest.mark.parametrize("cluster", ["", CLUSTER], ids=["server", "cluster"])
def test_what_is_printed_parses_and_shows_no_password(engine: ClickHouse, cluster: str) -> None:
    """Every statement, in the engine's own parser; hashes are those that the engine would compute."""
    users = grants.Login("it's me", "s3cret", "salt"), grants.Login("analyst", "other", "grain")
    printed = grants.statements(Target(cluster=cluster), SOURCES, *users)
    for statement in printed:
        assert engine.query("SELECT formatQuery({text:String})", {"text": statement})
        assert "s3cret" not in statement
        assert ("ON CLUSTER `main`" in statement) == bool(cluster)
    ((digest,),) = engine.query("SELECT hex(SHA256('s3cretsalt'))")
    assert digest in printed[0]
