"""Brings a database to the newest schema; running it again changes nothing."""

from __future__ import annotations

from destinations.clickhouse.engine import Engine
from destinations.clickhouse.migrations import Migration, Target, all_migrations, bookkeeping, render
from destinations.clickhouse.names import literal, quote
from headwater.clock import Clock
from headwater.errors import SchemaMismatch
from headwater.timestamps import iso


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
