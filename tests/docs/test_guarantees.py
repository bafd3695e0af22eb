"""docs/guarantees.md names only tests that exist and are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
NAMED = re.compile(r"`((?:sdk/python/)?tests/[\w/]+\.py)::(\w+)`")


def collected(files: list[str]) -> set[str]:
    """The tests that pytest finds in these files, without their parameters."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        *files,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}


def test_every_named_test_is_collected() -> None:
    """A promise whose test was renamed or removed is not shown by anything."""
    named = {f"{file}::{name}" for file, name in NAMED.findall(PAGE)}
    assert named <= collected(sorted({name.partition("::")[0] for name in named}))


def test_every_promise_names_a_test() -> None:
    """Each row of the tables ends with the tests that show it."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert [row for row in rows if not NAMED.search(row.rpartition(" | ")[2])] == []
    assert len(rows) > 30
