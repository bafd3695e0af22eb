"""Locks free themselves; run files say only what is true now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.errors import AlreadyRunning
from headwater.log.lock import FileLock
from headwater.paths import DataDir
from headwater.run import files
from headwater.run.files import Holder, Up
from headwater.run.orphans import wait_for_orphans

HOLD = """
import sys
from pathlib import Path
from headwater.run.files import Holder, acquire
lock = acquire(Path(sys.argv[1]), "it", Holder(int(sys.argv[2]) or __import__("os").getpid(), int(sys.argv[3])))
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path, supervisor: int = 0) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), "0", str(supervisor)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Kill the other process and close its pipes."""
    process.kill()
    process.communicate(timeout=10)


def test_a_second_owner_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    """The message names the process to stop."""
    other = hold(tmp_path / "x.lock")
    try:
        with pytest.raises(AlreadyRunning, match=f"it is already running with pid {other.pid}") as raised:
            files.acquire(tmp_path / "x.lock", "it", Holder(os.getpid()))
        assert raised.value.pid == other.pid
        assert files.is_held(tmp_path / "x.lock")
    finally:
        end(other)


def test_a_lock_is_free_when_its_owner_was_killed(tmp_path: Path) -> None:
    """The kernel drops it; the file that stays behind blocks nobody."""
    end(hold(tmp_path / "x.lock"))
    assert not files.is_held(tmp_path / "x.lock")
    files.acquire(tmp_path / "x.lock", "it", Holder(os.getpid())).release()


def test_what_a_killed_supervisor_left_does_not_count_as_running(tmp_path: Path) -> None:
    """up.json is believed only while the lock is held."""
    data = DataDir(tmp_path).make()
    files.write_up(data, Up(pid=1, host="0.0.0.0", port=8080, clickhouse_port=8123))
    assert files.read_up(data) is None
    lock = files.acquire(files.up_lock(data), "it", Holder(os.getpid()))
    up = files.read_up(data)
    lock.release()
    assert up is not None
    assert (up.url, up.clickhouse_url) == ("http://127.0.0.1:8080", "http://127.0.0.1:8123")


def test_cleaning_removes_counters_and_keeps_locks(tmp_path: Path) -> None:
    """Stale metrics of dead processes would be counted for ever."""
    data = DataDir(tmp_path).make()
    (data.metrics / "counter_1.db").write_bytes(b"")
    (data.run / "up.json").write_text("{}")
    (data.run / "up.lock").write_text("")
    files.clean(data)
    assert [path.name for path in data.run.rglob("*") if path.is_file()] == ["up.lock"]


def test_a_stage_started_by_hand_refuses_up(tmp_path: Path) -> None:
    """Its pid is named; it is never killed."""
    data = DataDir(tmp_path).make()
    other = hold(files.stage_lock(data, "processor"))
    try:
        with pytest.raises(AlreadyRunning, match=f"`headwater processor` runs on .* with pid {other.pid}"):
            wait_for_orphans(data)
        assert other.poll() is None
    finally:
        end(other)


def test_an_orphan_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of a supervisor that is gone cannot keep the folder."""
    monkeypatch.setattr("headwater.run.orphans.WAIT_S", 0.1)
    data = DataDir(tmp_path).make()
    other = hold(files.stage_lock(data, "destinations"), supervisor=999_999_999)
    try:
        wait_for_orphans(data)
        assert other.wait(5) == -9
    finally:
        end(other)


def test_a_writer_that_run_knows_nothing_of_refuses_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deletes run/ while Headwater runs cannot start a second one, whose stages would end again and again."""
    monkeypatch.setattr("headwater.run.orphans.CLOSING_S", 0.1)
    data = DataDir(tmp_path).make()
    writer = FileLock(data.log / "processor.lock", "processor")
    writer.acquire()
    try:
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} is the processor of this folder"):
            wait_for_orphans(data)
    finally:
        writer.release()
    wait_for_orphans(data)
