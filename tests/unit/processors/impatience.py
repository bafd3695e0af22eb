"""A worker that does not wait."""

from __future__ import annotations

import pytest

from processors import worker


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in these tests is worth waiting for."""
    monkeypatch.setattr(worker, "IDLE_S", 0.0)
    monkeypatch.setattr(worker, "BUSY_S", 0.0)
    monkeypatch.setattr(worker, "BACKOFF_S", (0.001, 0.001))
