"""The real engine, one folder for each module: a process has one engine at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from destinations.clickhouse.engine import ClickHouse, open_embedded
from destinations.clickhouse.migrate import migrate
from destinations.clickhouse.migrations import Target
from headwater.clock import ManualClock


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """An engine with the newest schema in the database `headwater`."""
    opened = open_embedded(tmp_path_factory.mktemp("clickhouse"))
    migrate(opened, Target(), ManualClock())
    yield opened
    opened.close()
