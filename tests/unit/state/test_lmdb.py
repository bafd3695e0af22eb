"""State on LMDB: what survives, what is refused, what is thrown away."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lmdb
import pytest

from headwater.errors import SchemaMismatch, StateError
from headwater.log.protocol import TopicPartition
from headwater.state import seen
from headwater.state.lmdb import LmdbState, open_state
from headwater.state.protocol import FINGERPRINT_BYTES

TP = TopicPartition("events.processed", 0)


def test_a_committed_state_is_there_again_after_closing(tmp_path: Path) -> None:
    """Values, fingerprints and offsets of the last commit are read back."""
    key = os.urandom(FINGERPRINT_BYTES)
    state = open_state(tmp_path / "0")
    state.commit(puts={"users": {b"a": b"1"}}, seen=[(key, 100)], folded={TP: 5})
    state.close()
    again = open_state(tmp_path / "0")
    assert (again.folded(TP), again.table("users").get(b"a"), again.seen.has(key, 100)) == (5, b"1", True)
    again.close()


def _commit_for_ever(folder: str, ready: object) -> None:
    state = open_state(Path(folder))
    for n in range(1, 1_000_000):
        marker = n.to_bytes(8, "big")
        fingerprint = b"\x07" + (n * 0x9E3779B97F4A7C15 % 2**72).to_bytes(9, "big")
        state.commit(puts={"t": {b"n": marker}}, seen=[(fingerprint, 100)], folded={TP: n})
        if n == 20:
            ready.set()  # type: ignore[attr-defined]


def test_a_killed_writer_leaves_values_fingerprints_and_offsets_of_one_commit(tmp_path: Path) -> None:
    """SIGKILL in the middle of commits: whatever is found belongs together."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_commit_for_ever, args=(str(tmp_path / "0"), ready))
    writer.start()
    try:
        assert ready.wait(30)
    finally:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
    state = open_state(tmp_path / "0")
    n = state.folded(TP)
    assert n >= 20
    assert state.table("t").get(b"n") == n.to_bytes(8, "big")
    assert len(state.seen) == n
    state.close()


def test_another_layout_is_refused_with_the_folder_and_what_to_type(tmp_path: Path) -> None:
    """The message says that the folder is a cache and how to remove it."""
    folder = tmp_path / "0"
    open_state(folder).close()
    env = lmdb.open(str(folder), max_dbs=8)
    with env.begin(write=True) as txn:
        txn.put(b"schema", b"999", db=env.open_db(b"meta", txn=txn))
    env.close()
    with pytest.raises(SchemaMismatch, match="'999'") as refused:
        open_state(folder)
    assert f"rm -r '{folder}'" in str(refused.value)
    assert folder.exists()


def test_a_damaged_folder_is_discarded_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is no LMDB file is replaced by an empty state and a warning."""
    folder = tmp_path / "0"
    folder.mkdir()
    (folder / "data.mdb").write_bytes(b"\xa5" * 16_384)
    with caplog.at_level(logging.WARNING, logger="headwater.state"):
        state = open_state(folder)
    assert state.folded(TP) == 0
    state.close()
    assert "discarded" in caplog.text
    assert str(folder) in caplog.text


def test_the_state_of_another_log_is_discarded_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A state is bound to the first log it folds; it is no use for any other."""
    folder = tmp_path / "0"
    state = open_state(folder, "log-a")
    state.commit(puts={}, seen=(), folded={TP: 5})
    state.close()
    same = open_state(folder, "log-a")
    assert same.folded(TP) == 5
    same.close()
    with caplog.at_level(logging.WARNING, logger="headwater.state"):
        other = open_state(folder, "log-b")
    assert other.folded(TP) == 0
    assert other.log_id == "log-b"
    other.close()
    assert "log-a" in caplog.text


def test_a_full_map_grows_and_the_commit_is_repeated_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More data than the map holds, in one commit and in many; nothing is missing afterwards."""
    monkeypatch.setattr("headwater.state.lmdb._SPARE_MAP_BYTES", 0)
    state = LmdbState(tmp_path / "0", sync=False, map_bytes=1 << 20)
    known = [(os.urandom(FINGERPRINT_BYTES), 100) for _ in range(30_000)]
    puts = {b"%d" % n: b"x" * 1000 for n in range(3000)}
    for at in range(0, len(known), 10_000):
        state.commit(puts={"t": puts}, seen=known[at : at + 10_000], folded={TP: at})
    assert len(state.seen) == 30_000
    assert all(state.seen.contains([key for key, _ in known], 100))
    assert dict(state.table("t").items()) == puts
    state.close()


def test_a_failed_commit_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk is a StateError; memory and folder stay at the commit before."""
    state = open_state(tmp_path / "0", sync=False)
    first, second = os.urandom(FINGERPRINT_BYTES), os.urandom(FINGERPRINT_BYTES)
    state.commit(puts={"t": {b"a": b"1"}}, seen=[(first, 100)], folded={TP: 1})

    def full(*change: Any) -> None:
        memory.write(*change)
        raise lmdb.DiskError("write")

    memory = state.seen
    with monkeypatch.context() as patched:
        patched.setattr(state, "_seen", SimpleNamespace(write=full))
        with pytest.raises(StateError, match="cannot commit"):
            state.commit(puts={"t": {b"a": b"2"}}, seen=[(second, 100)], folded={TP: 2})
    assert (state.folded(TP), state.table("t").get(b"a")) == (1, b"1")
    assert state.seen.contains([first, second], 0) == [True, False]
    state.close()


def test_runs_of_days_that_are_over_are_joined(tmp_path: Path) -> None:
    """However many commits a day had, in the end it is one run a shard, so that lookups stay short."""
    state = open_state(tmp_path / "0", sync=False)
    for day in (100, 101):
        for _ in range(5):
            batch = [(os.urandom(FINGERPRINT_BYTES), day) for _ in range(2000)]
            state.commit(puts={}, seen=batch, folded={})
    for _ in range(seen.SHARDS // seen.SWEEP_SHARDS):
        state.commit(puts={}, seen=(), folded={})
    runs = [run for shard in state.seen._shards for run in shard.runs if run.day == 100]
    assert len(runs) == seen.SHARDS
    assert sum(run.count for run in runs) == 10_000
    state.close()


def test_a_folder_that_cannot_be_opened_is_a_state_error(tmp_path: Path) -> None:
    """A file in the folder's place: the message names it; nothing is deleted."""
    place = tmp_path / "0"
    place.write_text("not a folder")
    with pytest.raises(StateError, match="cannot be opened"):
        open_state(place)
    assert place.read_text() == "not a folder"


def test_a_read_that_fails_is_a_state_error_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and seen answer or raise; they never say "not there" because the disk failed."""
    state = open_state(tmp_path / "0", sync=False)
    key = os.urandom(FINGERPRINT_BYTES)
    state.commit(puts={"t": {b"a": b"1"}}, seen=[(key, 100)], folded={})

    def fails() -> None:
        raise lmdb.CorruptedError("page")

    table = state.table("t")
    with monkeypatch.context() as patched:
        patched.setattr(state, "reader", fails)
        patched.setattr(state.seen, "_reader", fails)
        for read in (lambda: table.get(b"a"), lambda: list(table.items()), lambda: state.seen.has(key, 100)):
            with pytest.raises(StateError, match="rm -r"):
                read()
    state.close()
