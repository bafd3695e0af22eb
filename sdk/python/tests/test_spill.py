"""Events on disk are not lost, whatever is torn, full, refused or somebody else's."""

from __future__ import annotations

import errno
import os
import pathlib
import runpy
import sys
import types
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sdk.python.tests.spilling import EVENTS, drain, files, folder

from headwater_sdk import _filelock, _options, _segment
from headwater_sdk._spill import Spill, SpillError

__all__ = ["folder"]


def test_events_come_back_in_order_in_portions_of_a_request(folder: str) -> None:
    """Segments end at the number of events and bytes that fit into one request."""
    spill = Spill(folder, segment_events=3, segment_bytes=60)
    spill.append(EVENTS[:4])
    spill.append([b'"' + b"x" * 100 + b'"'])
    spill.append(EVENTS[4:6])
    sizes = []
    events: list[bytes] = []
    while (segment := spill.claim()) is not None:
        sizes.append(len(segment.events))
        events += segment.events
        segment.done()
    assert sizes == [3, 1, 1, 2]
    assert events == [*EVENTS[:4], b'"' + b"x" * 100 + b'"', *EVENTS[4:6]]
    assert files(folder) == []


def test_the_directory_and_its_files_are_the_users_own(folder: str) -> None:
    """Events may hold personal data."""
    Spill(folder).append(EVENTS)
    assert os.stat(folder).st_mode & 0o077 == 0
    assert os.stat(os.path.join(folder, files(folder)[0])).st_mode & 0o077 == 0


def test_nothing_is_claimed_where_nothing_was_written(folder: str) -> None:
    """A directory that is not there is an empty one, and reading does not make it."""
    spill = Spill(folder)
    assert spill.claim() is None
    assert spill.size == 0
    assert not os.path.exists(folder)


def test_what_is_written_after_a_claim_is_a_segment_of_its_own(folder: str) -> None:
    """A claimed segment does not grow: what was read from it is all there is when it is deleted."""
    spill = Spill(folder)
    spill.append(EVENTS[:1])
    first = spill.claim()
    spill.append(EVENTS[1:2])
    assert first is not None
    first.done()
    assert drain(spill) == EVENTS[1:2]


def test_a_segment_that_is_written_or_claimed_is_nobody_elses(folder: str) -> None:
    """Only what is sealed, released or left behind is free."""
    one, other = Spill(folder, segment_events=2), Spill(folder)
    one.append(EVENTS[:3])
    sealed = other.claim()
    assert sealed is not None
    assert sealed.events == EVENTS[:2]
    assert other.claim() is None
    assert drain(one) == EVENTS[2:3]
    sealed.release()
    sealed.release()
    sealed.done()
    assert drain(one) == EVENTS[:2]


def test_closing_leaves_everything_to_the_next_start(folder: str) -> None:
    """Claimed and unclaimed events alike."""
    spill = Spill(folder, segment_events=2)
    spill.append(EVENTS[:3])
    assert spill.claim() is not None
    spill.close()
    assert drain(Spill(folder)) == EVENTS[:3]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), torn=st.booleans())
def test_damage_costs_only_the_records_it_touches(folder: str, at: int, torn: bool) -> None:
    """A file cut off, or one byte wrong, anywhere: the other events are read, the damaged are counted, nothing raises."""
    writer = Spill(folder)
    writer.append(EVENTS)
    writer.close()
    path = os.path.join(folder, files(folder)[0])
    data = pathlib.Path(path).read_bytes()
    at %= len(data)
    pathlib.Path(path).write_bytes(
        data[:at] if torn else data[:at] + bytes([data[at] ^ 0x21]) + data[at + 1 :]
    )
    segment = Spill(folder).claim()
    if segment is None:
        assert torn
        assert at == 0
        return
    assert all(event in EVENTS for event in segment.events)
    if torn:
        assert segment.events == EVENTS[: data[:at].count(b"\n")]
        assert segment.damaged == (data[at - 1 : at] != b"\n")
    else:
        assert len(segment.events) in (8, 9)  # a damaged end of line takes the next record along
        assert segment.damaged == 1 or data[at : at + 1] != b"\n"
    segment.done()


def test_a_full_directory_says_so_and_takes_events_again_when_there_is_room(folder: str) -> None:
    """The error names the directory and the limit, and counts what of the call is safe; it looks again each second."""
    now = [0.0]
    spill = Spill(folder, max_bytes=110, clock=lambda: now[0], segment_events=2)
    with pytest.raises(SpillError, match=r"spill is full: max_bytes=110 would be exceeded") as caught:
        spill.append(EVENTS)
    assert caught.value.written == 6
    assert spill.size <= 110
    segment = Spill(folder).claim()
    assert segment is not None
    segment.done()
    now[0] = 1.0
    spill.append(EVENTS[6:8])
    assert drain(spill) == EVENTS[2:8]


def test_a_full_directory_is_not_listed_for_each_event(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would cost the app's own thread some milliseconds a call, just when there is an outage."""
    spill = Spill(folder, max_bytes=100, clock=lambda: 0.0, segment_events=2)
    listed: list[str] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    for event in EVENTS * 10:
        try:
            spill.append([event])
        except SpillError:
            continue
    assert len(listed) == 1


def refuse(after: int) -> Any:
    """A disk that takes so many more bytes and is full then."""
    left = [after]
    write = os.write

    def limited(fd: int, data: Any) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(data)[: left[0]]
        left[0] -= len(part)
        return write(fd, part)

    return limited


@pytest.mark.parametrize("truncates", [True, False])
def test_a_disk_that_fills_up_in_the_middle_leaves_whole_events_only(
    folder: str, monkeypatch: pytest.MonkeyPatch, truncates: bool
) -> None:
    """The error says what is wrong; what was acknowledged stays, what comes later is whole, even if nothing can be undone."""
    spill = Spill(folder)
    spill.append(EVENTS[:2])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse(after=25))
        if not truncates:
            patch.setattr(os, "ftruncate", refuse(after=0))
        with pytest.raises(SpillError, match=r"spill: No space left on device; see its disk"):
            spill.append(EVENTS[2:5])
    spill.append(EVENTS[5:6])
    events: list[bytes] = []
    while (segment := spill.claim()) is not None:
        events += segment.events
        segment.done()
    whole = [event for event in events if event not in EVENTS[2:5]]
    assert whole == [*EVENTS[:2], EVENTS[5]]


def test_a_directory_that_cannot_be_made_is_named_with_its_reason(tmp_path: pathlib.Path) -> None:
    """A file is in the way; nothing but SpillError comes out."""
    (tmp_path / "file").write_text("")
    spill = Spill(str(tmp_path / "file" / "spill"))
    with pytest.raises(SpillError, match=r"file/spill: .*; see its disk and its rights"):
        spill.append(EVENTS)
    with pytest.raises(SpillError):
        spill.claim()


def test_a_file_is_locked_until_it_has_no_name(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a writer that made the file could lock it just before it is removed, and write what nobody finds."""
    spill = Spill(folder)
    spill.append(EVENTS)
    segment = spill.claim()
    assert segment is not None
    free: list[bool] = []
    unlink = os.unlink

    def watched(path: str) -> None:
        fd = os.open(path, os.O_RDWR)
        free.append(_filelock.try_lock(fd))
        os.close(fd)
        unlink(path)

    monkeypatch.setattr(os, "unlink", watched)
    segment.done()
    assert free == [False]
    assert files(folder) == []


def test_where_open_files_cannot_be_removed_it_is_closed_first(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows; if another process has it open too, an empty file stays, which the next claim removes."""
    spill = Spill(folder)
    spill.append(EVENTS)
    segment = spill.claim()
    assert segment is not None
    refusals = iter([True, True, False])
    unlink = os.unlink

    def windows(path: str) -> None:
        if next(refusals):
            raise PermissionError(errno.EACCES, "The process cannot access the file because it is being used")
        unlink(path)

    monkeypatch.setattr(os, "unlink", windows)
    segment.done()
    assert [os.path.getsize(os.path.join(folder, name)) for name in files(folder)] == [0]
    assert spill.claim() is None
    assert files(folder) == []


def test_a_file_of_another_user_does_not_block_the_others(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is theirs to send; who may not open it goes on with the next."""
    writer = Spill(folder, segment_events=1)
    writer.append(EVENTS[:2])
    writer.close()
    theirs = os.path.join(folder, files(folder)[0])
    real = os.open

    def refusing(path: Any, *rest: Any) -> int:
        if path == theirs:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        assert drain(Spill(folder)) == EVENTS[1:2]
    assert drain(Spill(folder)) == EVENTS[:1]


def test_asked_to_sync_it_waits_for_the_disk(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file each time and the directory for a new name; without being asked, never."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    spill = Spill(folder)
    spill.append(EVENTS[:1], sync=True)
    assert len(synced) == 2
    spill.append(EVENTS[1:2], sync=True)
    assert len(synced) == 3
    spill.append(EVENTS[2:3])
    assert len(synced) == 3


def test_a_file_that_others_saw_before_its_lock_is_left_to_them(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making and locking a file another process may take it for a dead one's: the writer makes another."""
    answers = iter([False])
    monkeypatch.setattr(_segment, "try_lock", lambda fd: next(answers, True) and _filelock.try_lock(fd))
    spill = Spill(folder)
    spill.append(EVENTS)
    assert len(files(folder)) == 2
    assert drain(spill) == EVENTS
    assert files(folder) == []


def test_on_windows_a_byte_behind_the_content_is_locked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """Windows keeps others from reading what is locked; that it refuses means another process has the file."""
    locked: list[int] = []

    def locking(fd: int, mode: int, count: int) -> None:
        assert (mode, count) == (3, 1)
        if locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        locked.append(os.lseek(fd, 0, os.SEEK_CUR))

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=3))  # type: ignore[arg-type]
    try_lock = runpy.run_path(_filelock.__file__)["try_lock"]
    (tmp_path / "file").write_text("content")
    fd = os.open(tmp_path / "file", os.O_RDWR)
    assert try_lock(fd)
    assert not try_lock(fd)
    os.close(fd)
    assert locked == [1 << 30]


def test_sources_that_share_a_directory_do_not_send_each_others_events(folder: str) -> None:
    """Each write key has a folder of its own; the same source at another address finds what it left."""

    def disk(write_key: str, host: str) -> Any:
        target = _options.target(write_key, host, gzip=False, timeout=1, proxies=None, ssl_context=None)
        return _options.disk("spill", folder, 1_000, durable=False)(target)

    first = disk("wk-1", "http://127.0.0.1:1")
    assert first.put(EVENTS[0])
    first.close()
    assert disk("wk-2", "http://127.0.0.1:1").take() is None
    assert disk("wk-1", "http://127.0.0.1:2").take().events == EVENTS[:1]
    assert "wk-1" not in str(files(folder))
