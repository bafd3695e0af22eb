"""Brings a database to the newest schema; running it again changes nothing."""

from __future__ import annotations

from destinations.clickhouse.engine import Engine, EngineError
from destinations.clickhouse.migrations import Migration, Target, all_migrations, bookkeeping, render
from destinations.clickhouse.names import literal, quote
from headwater.clock import Clock
from headwater.errors import SchemaMismatch
from headwater.timestamps import iso

# What keeps every part of the event table as it was inserted: no merge is small enough, no number of parts too large.
UNMERGED = {
    "max_bytes_to_merge_at_max_space_in_pool": 1,
    "max_bytes_to_merge_at_min_space_in_pool": 1,
    "parts_to_delay_insert": 1_000_000,
    "parts_to_throw_insert": 1_000_000,
}


def is_new(engine: Engine, target: Target) -> bool:
    """Whether the database has never had a schema. Raises EngineError."""
    where = f"database = {literal(target.database)} AND name = 'schema_migrations'"
    return not engine.query(f"SELECT 1 FROM system.tables WHERE {where}")


def migrate(engine: Engine, target: Target, clock: Clock) -> list[Migration]:
    """Apply what is missing, in order; what was applied now.

    A migration's statements can be repeated (IF NOT EXISTS, OR REPLACE): a kill in the middle is mended by the next start.
    Raises SchemaMismatch where the database is newer than this version, EngineError where a statement fails.
    """
    for statement in bookkeeping(target):
        engine.command(statement)
    known = all_migrations()
    table = f"{quote(target.database)}.schema_migrations"
    applied = {int(row[0]) for row in engine.query(f"SELECT DISTINCT number FROM {table}")}
    unknown = applied - {migration.number for migration in known}
    if unknown:
        raise SchemaMismatch(
            f"ClickHouse database {target.database!r} has schema {max(unknown)}, this version of Headwater knows up to "
            f"{known[-1].number}; run the version that made it, or a newer one"
        )
    fresh = [migration for migration in known if migration.number not in applied]
    for migration in fresh:
        for statement in render(migration.template, target):
            engine.command(statement)
        applied_at = literal(iso(clock.now_ms())[:-1])
        engine.command(
            f"INSERT INTO {table} VALUES ({migration.number}, {literal(migration.name)}, {applied_at})"
        )
    return fresh


def let_merge(engine: Engine, target: Target, *, merges: bool) -> None:
    """Let the event table merge its parts, or keep each as it was inserted. Raises EngineError.

    The choice is kept with the table, so that no merge slips in between opening a folder and this call; it is changed only
    where it differs, because a server may have settings of its operator.
    """
    where = f"database = {literal(target.database)} AND name = 'events'"
    found = engine.query(f"SELECT engine_full FROM system.tables WHERE {where}")
    if not found:
        raise EngineError(
            f"table {target.database}.events is not there, though {target.database}.schema_migrations says it was made: "
            f"somebody dropped it. Restore it from a backup, or drop {target.database}.schema_migrations as well to begin "
            "with empty tables"
        )
    held = all(f"{name} = {value}" in found[0][0] for name, value in UNMERGED.items())
    if held != merges:
        return
    names = ", ".join(UNMERGED)
    settings = ", ".join(f"{name} = {value}" for name, value in UNMERGED.items())
    change = f"RESET SETTING {names}" if merges else f"MODIFY SETTING {settings}"
    engine.command(f"ALTER TABLE {quote(target.database)}.events {target.on_cluster} {change}")
