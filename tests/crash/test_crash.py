"""The short version of `make crash`: ten SIGKILLs at random instants under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.run import crash


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.timeout(300)
def test_ten_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Every acknowledged event is in the base table exactly once, and the funnel adds up."""
    report = crash(tmp_path, rounds=10, seed=20_260)
    assert report["problems"] == []
    assert report["acknowledged"] > 500
    assert report["lost"] == []
    assert report["twice"] == []
