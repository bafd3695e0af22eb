"""The fixture that most of the collector's tests begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.serving import Served, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A collector with the usual settings."""
    async with serve(tmp_path) as running:
        yield running
