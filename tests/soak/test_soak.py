"""The short version of `make sdk-soak`: every SDK through faults into ClickHouse, each event exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.run import soak


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.browser
@pytest.mark.node
def test_every_sdk_delivers_each_event_exactly_once_through_faults(tmp_path: Path) -> None:
    """Resets, silence, 429, 500, 503, lost answers, kills of collector and sender: reports and table agree."""
    report = soak(tmp_path, events=2_000, size=40, seed=7, kills=2, pause_s=(3, 6))
    assert report["faults"] == []
    assert report["collector_kills"] >= 1
    assert report["senders"]["python-durable"]["killed"] == 2
    assert report["senders"]["python-bounded"]["dropped"] > 0
    assert all(one["rejected"] > 0 for kind, one in report["senders"].items() if kind != "python-durable")
    assert len(report["requests"]) >= 8
