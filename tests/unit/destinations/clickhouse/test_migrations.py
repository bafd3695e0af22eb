"""The schema: made once, complete, commented, equal to what the mapping fills, and ready for a cluster."""

from __future__ import annotations

import re

import pytest

from destinations.clickhouse import side, writer
from destinations.clickhouse.columns import SQL_TYPES, TYPED
from destinations.clickhouse.engine import ClickHouse
from destinations.clickhouse.lots import Table
from destinations.clickhouse.migrate import migrate
from destinations.clickhouse.migrations import Target, all_migrations, bookkeeping, render
from headwater.clock import ManualClock
from headwater.errors import SchemaMismatch

pytestmark = pytest.mark.engine


def test_a_second_run_changes_nothing(engine: ClickHouse) -> None:
    """All migrations were applied by the fixture; none is left."""
    assert migrate(engine, Target(), ManualClock()) == []
    applied = engine.query("SELECT number FROM headwater.schema_migrations ORDER BY number")
    assert [row[0] for row in applied] == [migration.number for migration in all_migrations()]


def test_numbers_have_no_gaps() -> None:
    """Migrations are 1, 2, 3, ..."""
    assert [migration.number for migration in all_migrations()] == list(range(1, len(all_migrations()) + 1))


def test_every_table_view_and_column_has_a_comment(engine: ClickHouse) -> None:
    """An analyst who looks at the schema finds words everywhere."""
    assert engine.query("SELECT name FROM system.tables WHERE database = 'headwater' AND comment = ''") == []
    assert (
        engine.query("SELECT table, name FROM system.columns WHERE database = 'headwater' AND comment = ''")
        == []
    )


def test_the_event_table_has_the_declared_columns(engine: ClickHouse) -> None:
    """Names and types of `columns.TYPED`, and the two JSON columns; nothing else."""
    found = dict(
        engine.query(
            "SELECT name, type FROM system.columns WHERE database = 'headwater' AND table = 'events'"
        )
    )
    assert set(found) == set(writer.EVENT_COLUMNS)
    for column in TYPED:
        assert found[column.name] == SQL_TYPES[column.kind], column.name
    assert found["properties"] == found["traits"] == writer.JSON_TYPE


@pytest.mark.parametrize(
    "table", [side.USERS, side.ACCOUNTS, side.MEMBERSHIPS, side.IDENTITIES, side.DROPPED, side.DELIVERIES]
)
def test_side_tables_have_the_columns_that_are_filled(engine: ClickHouse, table: Table) -> None:
    """Every column of a side table is given by its mapping."""
    found = engine.query(
        f"SELECT name FROM system.columns WHERE database = 'headwater' AND table = '{table.name}'"
    )
    assert {row[0] for row in found} == set(table.columns)


def test_sort_keys_hold_nothing_nullable_and_parts_are_synced(engine: ClickHouse) -> None:
    """What an expert looks for first."""
    keyed = engine.query(
        "SELECT table, name, type FROM system.columns WHERE database = 'headwater' AND is_in_sorting_key AND type LIKE '%Nullable%'"
    )
    assert keyed == []
    for (create,) in engine.query(
        "SELECT create_table_query FROM system.tables WHERE database = 'headwater' AND engine = 'ReplacingMergeTree' AND name != 'schema_migrations'"
    ):
        assert "fsync_after_insert = 1" in create


def test_a_newer_schema_is_refused(engine: ClickHouse) -> None:
    """An older Headwater never touches tables it does not know."""
    engine.command(
        "INSERT INTO headwater.schema_migrations VALUES (999, 'future', '2030-01-01 00:00:00.000')"
    )
    try:
        with pytest.raises(SchemaMismatch, match="schema 999"):
            migrate(engine, Target(), ManualClock())
    finally:
        engine.command("DELETE FROM headwater.schema_migrations WHERE number = 999")


def test_a_garbage_clock_opens_few_partitions(engine: ClickHouse) -> None:
    """Times before 2000 and after 2039 share two partitions."""
    engine.command("CREATE TABLE headwater.clocks AS headwater.events")
    engine.command(
        "INSERT INTO headwater.clocks (type, timestamp) SELECT 'track', toDateTime64('1900-01-01', 3, 'UTC') + "
        "toIntervalDay(number * 20) FROM numbers(1800) UNION ALL SELECT 'track', toDateTime64('2040-06-01', 3, 'UTC') + "
        "toIntervalDay(number * 20) FROM numbers(1800)"
    )
    found = engine.query(
        "SELECT DISTINCT partition FROM system.parts WHERE active AND table = 'clocks' ORDER BY 1"
    )
    assert [row[0] for row in found] == ["200001", "203912"]


def test_time_filters_prune_partitions(engine: ClickHouse) -> None:
    """A condition on timestamp alone reads the months it names."""
    engine.command("CREATE TABLE headwater.months AS headwater.events")
    engine.command(
        "INSERT INTO headwater.months (type, timestamp) SELECT 'track', toDateTime64('2024-01-15', 3, 'UTC') + "
        "toIntervalMonth(number) FROM numbers(12)"
    )
    plan = engine.query(
        "EXPLAIN indexes = 1 SELECT count() FROM headwater.months WHERE timestamp >= '2024-12-01'"
    )
    assert any("Parts: 1/12" in row[0] for row in plan), plan


def test_a_cluster_gets_replicated_engines() -> None:
    """The same templates, ON CLUSTER and replicated, with nothing left to fill in."""
    target = Target(database="analytics", cluster="main")
    statements = [*bookkeeping(target), *(s for m in all_migrations() for s in render(m.template, target))]
    for statement in statements:
        assert "ON CLUSTER `main`" in statement
        assert not re.search(r"[@$]\w", statement.replace("'{", "")), statement
    assert any(
        "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', loaded_at)"
        in s
        for s in statements
    )
