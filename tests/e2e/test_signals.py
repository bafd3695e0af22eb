"""Signals at inconvenient moments: while `up` is starting, and again while it is draining."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from headwater.paths import DataDir
from headwater.run import files
from headwater.run.settings import STAGES
from headwater.run.supervisor import AGAIN_S
from tests.support.running import Running, eventually

WORKSPACE = """\
workspace: acme
sources:
  api: {kind: server, write_keys: [wk_api]}
"""


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay", [0.0, 0.08, 0.2, 0.35, 0.6])
def test_a_signal_while_up_is_starting_ends_it_with_0(
    tmp_path: Path, delay: float, number: signal.Signals
) -> None:
    """From its first moment on: no child stays, no lock is held, and a start afterwards works."""
    running = Running(tmp_path, WORKSPACE)
    command = running.command("up", "--workspace", str(running.file), "--port", str(running.port))
    with (tmp_path / "early.log").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        # SIGINT has a handler from the interpreter's beginning, SIGTERM only once the command has one
        eventually(lambda: catches(process.pid, signal.SIGTERM), what="a handler")
        threading.Event().wait(delay)  # the moment is the point of the test: there is nothing to wait for
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(30) == 0, (tmp_path / "early.log").read_text()
    finally:
        process.kill()
        process.wait(10)
    psutil.wait_procs(family, timeout=10)
    assert not any(one.is_running() for one in family)
    data = DataDir(running.dir)
    assert not any(files.is_held(files.stage_lock(data, stage)) for stage in STAGES)
    assert not files.is_held(files.up_lock(data))
    assert "Traceback" not in (tmp_path / "early.log").read_text()


DEAF = """
import os, signal, sys, types, weakref
from headwater.cli import main

class Thing: ...

def app(prog_name):
    thing = Thing()
    kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del thing
    sys.exit(9)

sys.modules["headwater.cli.app"] = types.SimpleNamespace(app=app)
sys.argv = ["headwater", "up"]
main()
"""


def test_a_signal_is_heard_where_python_cannot_raise() -> None:
    """In a weakref's callback an exception is printed and forgotten; imports run many of them."""
    done = subprocess.run(
        [sys.executable, "-c", DEAF], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_signal_does_not_wait_for_a_child_that_hangs(tmp_path: Path) -> None:
    """The drain would wait for its bound; asked again, the children are killed, and the code says it was not clean.

    Two signals at once are one Ctrl-C: `timeout` and `sudo` hand on what the terminal has sent, too.
    """
    running = Running(tmp_path, WORKSPACE).start()
    try:
        assert running.process is not None
        family = running.family()
        running.child("destination").suspend()
        running.process.send_signal(signal.SIGINT)
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in running.errors(), what="the drain")
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > AGAIN_S, what="time for what was asked at once")
        assert "asked again" not in running.errors()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 1
        assert time.monotonic() - began < 8, "it waited for the bound of the drain"
        psutil.wait_procs(family, timeout=5)
        assert not any(one.is_running() for one in family)
        assert "asked again" in running.errors()
        running.kill()
        running.start()  # nothing is left in the way
        assert running.post("/v1/track", {"writeKey": "wk_api", "userId": "u", "event": "E"})[0] == 200
        assert running.stop() == 0
    finally:
        running.kill()
