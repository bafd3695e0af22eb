"""How `headwater status` writes numbers."""

from __future__ import annotations

import pytest

from headwater.cli import status


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
