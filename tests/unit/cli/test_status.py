"""How `headwater status` writes numbers."""

from __future__ import annotations

from io import StringIO
from typing import cast

import pytest
from rich.console import Console

from headwater.cli import status
from headwater.run.funnel import DestinationFlow


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (7.46, "7.5 s"),
        (119.9, "119.9 s"),
        (120, "2 min"),
        (1_002.3, "17 min"),
        (7_199, "120 min"),
        (7_200, "2 h"),
        (172_799, "48 h"),
        (172_800, "2 d"),
        (604_800, "7 d"),
    ],
)
def test_a_lag_is_short_whatever_its_length(seconds: float, shown: str) -> None:
    """A destination that has been paused for days must not break the table."""
    assert status._time(seconds) == shown


@pytest.mark.parametrize(("width", "table"), [(100, True), (60, False)])
def test_a_number_is_never_cut_however_narrow_the_terminal(width: int, table: bool) -> None:
    """Where the table does not fit, each destination is a line of words and whole numbers."""
    flow = DestinationFlow(read=12_345_678, delivered=12_345_678, lag=241, lag_seconds=540)
    out = Console(width=width, file=StringIO())
    out.print(status._deliveries({"warehouse": flow}, out))
    text = cast("StringIO", out.file).getvalue()
    assert "12,345,678" in text
    assert "241 (9 min)" in text
    assert ("─" in text) is table
    assert ("warehouse: read 12,345,678, delivered 12,345,678, " in text) is not table
