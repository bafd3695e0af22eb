"""A data folder and a clock for the SQLite log."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.clock import ManualClock
from headwater.paths import DataDir


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """An empty data folder."""
    return DataDir(tmp_path / "data")


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()
