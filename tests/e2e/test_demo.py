"""`make demo` without make: the demo starts, shows the funnel and the answers, and ends by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.running import free_port


def demo(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """`headwater demo --exit` in a folder, with no terminal."""
    command = [sys.executable, "-m", "headwater", "demo", "--exit", "--dir", str(folder), "--accounts", "6"]
    command += ["--port", str(free_port()), "--clickhouse-port", str(free_port()), *more]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL
    )


def test_the_demo_shows_answers_and_ends_by_itself_even_twice(tmp_path: Path) -> None:
    """Exit code 0, a funnel that adds up, three answers with rows; the second run starts afresh."""
    for _ in range(2):
        done = demo(tmp_path / "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"adds up\W+yes", done.stdout)
        for title in (
            "Trial conversion by plan",
            "The most active accounts",
            "Page views with and without bots",
        ):
            answer = done.stdout.split(title)[1].split("\n\n")[0]
            assert "1. │" in answer, answer


def test_the_demo_leaves_other_peoples_folders_alone(tmp_path: Path) -> None:
    """A folder with anything in it that is not a demo's is refused, and untouched."""
    (tmp_path / "thesis.txt").write_text("chapter 1")
    done = demo(tmp_path)
    assert done.returncode == 1
    assert "not a demo's" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "chapter 1"
