"""One log per test, for every implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headwater.log.protocol import Log
from tests.contracts.log.harness import IMPLEMENTATIONS, Harness, maker_of
from tests.support.kafka import kafka

__all__ = ["kafka"]


@pytest.fixture(params=IMPLEMENTATIONS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    """Opens, kills and reopens the implementation under test."""
    return maker_of(request.param, request)(tmp_path)


@pytest.fixture
async def log(harness: Harness) -> AsyncIterator[Log]:
    """The log, open; closed at the end unless the test did so."""
    yield await harness.open()
    await harness.close()
