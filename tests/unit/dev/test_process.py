"""Processes that outlive us are known again, and others are left alone."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from headwater.dev.kafka.process import Process, end, is_alive, send, spawn, wait

Start = Callable[[str], Process]
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
)
WILLING = "import signal; print('ready', flush=True); signal.pause()"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a program's output goes."""
    return tmp_path / "log"


@pytest.fixture
def start(log: Path) -> Iterator[Start]:
    """Start a Python program and wait until it has printed something."""
    started: list[Process] = []

    def begin(program: str) -> Process:
        started.append(spawn([sys.executable, "-c", program, str(log)], log, str(log)))
        while not log.exists() or not log.read_text():
            assert is_alive(started[-1])
        return started[-1]

    yield begin
    end(started, 0)


def test_a_process_is_alive_from_the_first_instant_until_it_is_gone(log: Path) -> None:
    """Just started it may have no command line yet; that is no reason to think it dead."""
    for _ in range(50):
        child = spawn([sys.executable, "-c", "input()", str(log)], log, str(log))
        assert is_alive(child)
        send(child, signal.SIGKILL)
        assert wait([child], 10) == []
        assert not is_alive(child)


def test_a_willing_process_ends_by_sigterm_even_when_it_was_stopped(start: Start) -> None:
    """SIGSTOP keeps SIGTERM waiting, so SIGCONT comes with it."""
    child = start(WILLING)
    send(child, signal.SIGSTOP)
    assert end([child], 10) == []
    assert not is_alive(child)


def test_a_stubborn_process_is_killed(start: Start) -> None:
    """After the time to leave is over."""
    child = start(STUBBORN)
    assert end([child], 0.1) == [child]
    assert not is_alive(child)


@pytest.mark.parametrize("other", [{"started": 1}, {"mark": "/some/other/server.properties"}])
def test_a_process_that_only_has_the_pid_is_left_alone(start: Start, other: dict[str, int | str]) -> None:
    """Another start time or command line is another process."""
    child = start(WILLING)
    stranger = msgspec.structs.replace(child, **other)
    assert not is_alive(stranger)
    assert end([stranger], 0) == []
    assert is_alive(child)
