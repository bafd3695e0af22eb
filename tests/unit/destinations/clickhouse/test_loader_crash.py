"""SIGKILL of the loading process at every step: the base table itself holds each event once afterwards."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headwater.log.open import open_log
from headwater.paths import DataDir
from tests.support.delivering import letters_of
from tests.unit.destinations.clickhouse.loading import entry, event, workspace

pytestmark = [pytest.mark.engine, pytest.mark.slow]
ROOT = Path(__file__).parents[4]


async def write(folder: Path, ids: list[str], deep: str) -> None:
    """Append processed events as the processor would, and one that nests too deeply."""
    async with open_log(workspace().current.log, DataDir(folder).make(), "processor") as log:
        mixed: list[dict[str, Any]] = [{"properties": {"total": 1}}, {"properties": {"items": [{"a": 1}]}}]
        lines = [event(i, **mixed[n % 2]) for n, i in enumerate(ids)]
        too_deep = event(deep)[:-1] + b',"traits":{"a":' + b"[" * 900 + b"]" * 900 + b"}}"
        await log.append([entry(*lines[:7], too_deep, *lines[7:])])


async def letters(folder: Path) -> list[str]:
    """The events in the dead letters, by id."""
    async with open_log(workspace().current.log, DataDir(folder), "processor") as log:
        kept = [bytes(one.dead.event) for one in await letters_of(log, "warehouse")]
    return [name.decode() for line in kept for name in re.findall(rb"deep\d", line)]


def run(folder: Path, point: str) -> subprocess.CompletedProcess[str]:
    """One life of the loader."""
    command = [sys.executable, "-m", "tests.unit.destinations.clickhouse.crash_child", str(folder), point]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize(
    "points",
    [["intent", "inserted"], ["committed", "during:0.002"], ["during:0.006", "during:0.012", "during:0.02"]],
    ids="-".join,
)
def test_each_event_is_there_once_after_kills(tmp_path: Path, points: list[str]) -> None:
    """One kill after another, new events before each; then one life without. What is too deep has one letter."""
    expected: list[str] = []
    for number, point in enumerate(points):
        fresh = [f"m{number}-{n}" for n in range(60)]
        asyncio.run(write(tmp_path, fresh, f"deep{number}"))
        expected += fresh
        died = run(tmp_path, point)
        assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    last = run(tmp_path, "none")
    assert last.returncode == 0, last.stderr[-2000:]
    assert json.loads(last.stdout)["ids"] == sorted(expected)
    assert sorted(asyncio.run(letters(tmp_path))) == [f"deep{number}" for number in range(len(points))]
