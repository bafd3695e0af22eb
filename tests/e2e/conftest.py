"""One running Headwater for all clients of this folder; each test uses event names of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.support.running import Running


@pytest.fixture(scope="session")
def headwater(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a browser, a server and a mobile source and the embedded ClickHouse."""
    running = Running(tmp_path_factory.mktemp("up"))
    try:
        yield running.start()
    finally:
        if running.process is not None:
            running.stop()


@pytest.fixture
def tag() -> str:
    """An event name that no other test uses."""
    return f"T{uuid.uuid4().hex[:12]}"
