"""Processes that outlive us: started in a session of their own, known again by pid, start time and command line.

A pid alone is no name: after the process is gone, the kernel gives the number to somebody else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

_LOOK_S = 0.02


class Process(msgspec.Struct, frozen=True):
    """A process as a file can keep it."""

    pid: int
    started: int  # clock ticks between boot and its start
    mark: str  # an argument of its command line that no other program has


def spawn(arguments: Sequence[str], log: Path, mark: str) -> Process:
    """Start a program in the background: no terminal, no input, its output appended to `log`."""
    assert mark in arguments
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        arguments[0],
        list(arguments),
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return Process(pid, _stat(pid)[1], mark)


def is_alive(process: Process) -> bool:
    """Whether this very process runs (or is stopped); one that has ended but was not waited for does not count."""
    try:
        state, started = _stat(process.pid)
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    if started != process.started:
        return False
    if state in "ZX":
        return _is_ending(process.pid)
    # for an instant after exec, and while it ends, a process has no arguments yet or any more
    return arguments == [b""] or process.mark.encode() in arguments


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal, if it is still this process that has the pid."""
    if is_alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def wait(processes: Sequence[Process], seconds: float) -> list[Process]:
    """Wait until all are gone; returns those that are not."""
    give_up = time.monotonic() + seconds
    while left := [process for process in processes if is_alive(process)]:
        if time.monotonic() > give_up:
            return left
        time.sleep(_LOOK_S)
    return []


def end(processes: Sequence[Process], seconds: float) -> list[Process]:
    """SIGTERM, after `seconds` SIGKILL; returns those that had to be killed."""
    for process in processes:
        send(process, signal.SIGTERM)
        send(process, signal.SIGCONT)  # a stopped one hears SIGTERM only when it goes on
    stubborn = wait(processes, seconds)
    for process in stubborn:
        send(process, signal.SIGKILL)
    if left := wait(stubborn, 10):
        raise TimeoutError(f"processes {', '.join(str(process.pid) for process in left)} outlive SIGKILL")
    return stubborn


def _is_ending(pid: int) -> bool:
    """Whether a process whose first thread is dead still has others: those keep its ports. The dead are buried."""
    try:
        if len(list(Path(f"/proc/{pid}/task").iterdir())) > 1:
            return True
        os.waitpid(pid, os.WNOHANG)
    except (FileNotFoundError, ChildProcessError):  # buried by now, or somebody else's child
        return False
    return False


def _stat(pid: int) -> tuple[str, int]:
    """State and start time of a process; its name, which may contain anything, ends with the last parenthesis."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])
