"""A directory of events on disk, and what is in it."""

from __future__ import annotations

import os
import pathlib

import pytest

from headwater_sdk._spill import Spill

EVENTS = [b'{"n":%d}' % number for number in range(10)]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> str:
    """A directory that does not exist yet."""
    return str(tmp_path / "spill")


def drain(spill: Spill) -> list[bytes]:
    """Claim and finish everything that is free."""
    events: list[bytes] = []
    while (segment := spill.claim()) is not None:
        assert segment.damaged == 0
        events += segment.events
        segment.done()
    return events


def files(folder: str) -> list[str]:
    """The names in the directory."""
    return sorted(os.listdir(folder))
