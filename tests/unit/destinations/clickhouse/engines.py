"""The engine with empty tables, and one whose inserts fail as planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from destinations.clickhouse.engine import ClickHouse, Client, EngineError

Table = str


class Flaky:
    """An engine whose inserts into `events` fail as planned: before or after the rows are stored."""

    embedded = True

    def __init__(self, engine: ClickHouse, plan: Sequence[tuple[str, int]] = (), refuse: bytes = b"") -> None:
        self._engine, self._plan, self._refuse = engine, list(plan), refuse
        self.inserts = 0

    def insert_block(
        self, table: Table, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
    ) -> None:
        """Insert, or fail."""
        if not table.endswith("`events`"):
            self._engine.insert_block(table, columns, data, fmt, settings)
            return
        self.inserts += 1
        if self._refuse and self._refuse in data:
            raise EngineError("Code: 27. DB::Exception: Cannot parse input", 27)
        when, code = self._plan.pop(0) if self._plan else ("", 0)
        if when == "before":
            raise EngineError(f"Code: {code}. DB::Exception: planned", code)
        if when == "half":
            lines = data.split(b"\n")
            data = b"\n".join(lines[: len(lines) // 2])
        self._engine.insert_block(table, columns, data, fmt, settings)
        if when:
            raise EngineError(f"Code: {code}. DB::Exception: planned", code)

    def command(self, sql: str) -> None:
        """As the engine."""
        self._engine.command(sql)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """As the engine."""
        return self._engine.query(sql, parameters)

    def readonly_client(self, settings: Mapping[str, str] | None = None) -> Client:
        """As the engine."""
        return self._engine.readonly_client(settings)

    def close(self) -> None:
        """The test's fixture closes the engine."""


@pytest.fixture
def clean(engine: ClickHouse) -> ClickHouse:
    """The engine with empty tables."""
    for (name,) in engine.query(
        "SELECT name FROM system.tables WHERE database = 'headwater' AND engine LIKE '%MergeTree' AND name != 'schema_migrations'"
    ):
        engine.command(f"TRUNCATE TABLE headwater.{name}")
    return engine


TIME_TEXT = "2024-01-01T00:00:00.000Z"
