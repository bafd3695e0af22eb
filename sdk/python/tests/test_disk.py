"""The part of the queue that is on disk: when its events go, and what a broken file or file system costs."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Callable

import pytest
from sdk.python.tests.loopback import serving
from sdk.python.tests.virtual import VirtualTime

from headwater_sdk import Client, _segment
from headwater_sdk._core import Core, Limits
from headwater_sdk._disk import SpillDisk
from headwater_sdk._segment import SegmentFile
from headwater_sdk._spill import Spill


def test_durable_events_wait_no_longer_than_the_interval_however_often_others_come(tmp_path: Path) -> None:
    """The interval counts from the oldest event: a steady trickle must not put off the request again and again."""
    time = VirtualTime()
    time.now = 100.0
    disk = SpillDisk(Spill(str(tmp_path), clock=time.monotonic), durable=True, monotonic=time.monotonic)
    core = Core(Limits(upload_interval=0.5), time.monotonic, time.wall, lambda: 0.0, disk)
    assert core.due() == 0  # to look once for what others left
    assert core.take() is None
    for _ in range(4):
        assert core.offer(b"{}")
        time.now += 0.2
    assert core.due() == 0
    batch = core.take()
    assert batch is not None
    assert len(batch.events) == 4
    assert core.offer(b"{}")
    core.restore(batch)
    core._ahead.clear()
    assert core.due() == 0.5


def test_a_file_of_which_nothing_can_be_read_does_not_keep_back_the_others(tmp_path: Path) -> None:
    """It is counted as lost in the log, and the delivery goes on in the same call."""
    options: dict[str, Any] = {"durable": True, "spill_dir": str(tmp_path)}
    left = Client("wk", "http://127.0.0.1:9", **options)
    left.track("u1", "A")
    assert left.shutdown(0).queued == 1
    (folder,) = tmp_path.iterdir()
    (folder / "000.events").write_bytes(b"garbage\n")
    with serving() as server, Client("wk", server.url, sync_mode=True, **options) as client:
        assert client.flush(20).delivered == 1
    assert server.events == ["A"]


def test_a_disk_that_refuses_every_event_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it takes one again: an outage of a million events must not write a million lines."""
    spill = Spill(str(tmp_path), max_bytes=20)
    disk = SpillDisk(spill, durable=True)
    assert [disk.put(b"x" * 30) for _ in range(5)] == [False] * 5
    assert len(caplog.records) == 1
    spill.max_bytes = 200
    assert disk.put(b"x" * 30)
    spill.max_bytes = 20
    assert not disk.put(b"x" * 30)
    assert len(caplog.records) == 2
    disk.close()


@pytest.mark.parametrize("how", [SegmentFile.begin, SegmentFile.take])
def test_a_file_system_without_locks_costs_no_file_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[str], Any]
) -> None:
    """Each event tries again; what it opened is closed."""
    opened: list[int] = []

    def without_locks(fd: int) -> bool:
        opened.append(fd)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_segment, "try_lock", without_locks)
    path = tmp_path / "1.events"
    if how == SegmentFile.take:
        path.touch()
    with pytest.raises(OSError, match="No locks"):
        how(str(path))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
