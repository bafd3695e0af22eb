"""`make demo` without make: the demo starts, shows the funnel and the answers, and ends by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.dev.kafka.record import read
from headwater.paths import DataDir
from headwater.run.files import is_held, up_lock
from tests.support.running import free_port

HEARING = """\
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


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


@pytest.mark.kafka
def test_the_demo_on_kafka_shows_the_same_and_takes_the_broker_with_it(tmp_path: Path) -> None:
    """The log is Kafka, the funnel adds up, and no broker stays."""
    folder = tmp_path / "demo"
    done = demo(folder, "--kafka")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"adds up\W+yes", done.stdout)
    assert "1. │" in done.stdout.split("The most active accounts")[1]
    assert not list((folder / "log").glob("*.db*"))
    made = read(folder / "kafka")
    assert made is not None
    assert len(made.brokers) == 1
    assert made.alive == []


def test_the_demo_leaves_other_peoples_folders_alone(tmp_path: Path) -> None:
    """A folder with anything in it that is not a demo's is refused, and untouched."""
    (tmp_path / "thesis.txt").write_text("chapter 1")
    done = demo(tmp_path)
    assert done.returncode == 1
    assert "not a demo's" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "chapter 1"


@pytest.mark.parametrize(
    ("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, False)]
)
def test_a_demo_that_stays_drains_when_it_is_ended(
    tmp_path: Path, number: signal.Signals, *, whole_group: bool
) -> None:
    """Ctrl-C reaches every process of the terminal, and yet the server is told once: it drains, and nothing stays."""
    folder = tmp_path / "demo"
    # whoever starts the tests in the background has them ignore some signals, and what they start as well
    command = [sys.executable, "-c", HEARING, sys.executable, "-m", "headwater"]
    command += [
        "demo",
        "--dir",
        str(folder),
        "--accounts",
        "2",
        "--port",
        str(free_port()),
        "--clickhouse-port",
        str(free_port()),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert any("Ctrl-C stops everything" in line for line in process.stdout)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        rest = process.stdout.read()
        assert process.wait(60) == 0
    assert "stopping (drains first)" in rest
    log = (folder / "up.log").read_text()
    assert "stopped" in log
    assert "asked again" not in log
    assert not is_held(up_lock(DataDir(folder)))
