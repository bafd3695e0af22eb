"""The short version of `make crash-kafka`: five calamities of different kinds under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import calamities as what
from tests.crash.kafka import crash

FIVE = [
    what.freeze("processor"),
    what.kill_broker,
    what.cut_host,
    what.lose_state,
    what.kill("destination"),
]


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_five_calamities_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Clients' ledger, a plain consumer of the topics, ClickHouse's base table and `headwater status` agree."""
    report = crash(tmp_path, rounds=5, seed=20_261, seconds_per_round=2, draws=FIVE)
    assert report["problems"] == [], report["tails"]
    assert sum(report["happened"].values()) == 5
    assert report["acknowledged"] > 500
    assert report["processed"] == report["rows"] >= report["acknowledged"]
