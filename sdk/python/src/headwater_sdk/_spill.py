"""Events on disk: where the queue overflows to, and what survives a process that is killed.

A directory holds segments, files of about one request each, shared safely by any number of processes: a segment is
locked by the process that writes or sends it, and the lock ends with the process. One without a lock is free: sealed,
given back, or left by a process that died. Whoever locks it first has it, so that each event is sent by one process.
A process that dies between the delivery and `done()` leaves the segment, and another sends it again with the same
messageIds; the collector's deduplication removes the repetition.

One directory belongs to one write key: the files do not say for whom they are.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from headwater_sdk._ids import uuid7
from headwater_sdk._segment import SegmentFile, line

_SUFFIX = ".events"
_LOOK_AGAIN_S = 1.0
_spills: weakref.WeakSet[Spill] = weakref.WeakSet()


class SpillError(Exception):
    """The directory is full or the disk refuses; `written` says how many events of the call are safe nevertheless."""

    def __init__(self, message: str, written: int = 0) -> None:
        super().__init__(message)
        self.written = written


class Segment:
    """A claimed segment: its events belong to this process until `done` or `release`."""

    def __init__(self, spill: Spill, file: SegmentFile) -> None:
        self.events, self.damaged = (
            file.read()
        )  # `damaged` counts records that could not be read and are lost
        self._spill = spill
        self._file = file

    def done(self) -> None:
        """Delete it: its events are delivered, or reported as rejected or dropped. SpillError when the disk refuses."""
        self._spill.settle(self._file, delete=True)

    def release(self) -> None:
        """Leave it to whoever claims it next, in this process or another."""
        self._spill.settle(self._file, delete=False)


class Spill:
    """The segments of one directory, as one process sees them. Every method may be called from any thread."""

    def __init__(
        self,
        directory: str,
        max_bytes: int = 256 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
        *,
        segment_events: int = 100,
        segment_bytes: int = 475_000,
        ids: Callable[[], str] = uuid7,
    ) -> None:
        """Nothing is touched before the first call.

        `max_bytes` bounds the directory; since a process adds up the files of others once a second, what they write in
        that second may exceed it. `ids` gives file names that sort by time.
        """
        self.directory = os.path.abspath(directory)
        self.max_bytes = max_bytes
        self._clock = clock
        self._segment_events = segment_events
        self._segment_bytes = segment_bytes
        self._ids = ids
        self._lock = threading.RLock()
        self._open: set[SegmentFile] = set()
        self._active: SegmentFile | None = None
        self._free: deque[str] = deque()
        self._others = 0  # bytes in the directory but the active segment's
        self._look_again = float("-inf")
        _spills.add(self)

    @property
    def size(self) -> int:
        """Bytes on disk now, of all processes."""
        return sum(self._size(name) for name in self._names())

    def append(self, events: Sequence[bytes], *, sync: bool = False) -> None:
        """Write events; when it returns they survive the end of the process, with `sync` that of the machine too.

        Raises SpillError when the directory is full or the disk refuses.
        """
        with self._lock:
            written = 0
            try:
                for lines in self._portions([line(event) for event in events]):
                    self._room(lines, sync=sync).write(lines, sync=sync)
                    written += len(lines)
            except SpillError as error:
                raise SpillError(str(error), written) from None
            except OSError as error:
                self._seal()  # whatever state the file is in: the next call begins another
                raise self._trouble(error, written) from error

    def claim(self) -> Segment | None:
        """Take the oldest free segment, this process's own current one included; None when there is none.

        Raises SpillError when the disk refuses.
        """
        with self._lock:
            try:
                return self._claim()
            except OSError as error:
                raise self._trouble(error) from error

    def settle(self, file: SegmentFile, *, delete: bool) -> None:
        """End a claim; a second time, and in a forked child, nothing happens."""
        with self._lock:
            if file not in self._open:
                return
            self._open.discard(file)
            if not delete:
                file.close()
                self._free.appendleft(os.path.basename(file.path))  # it is the oldest
                return
            try:
                file.delete()
            except OSError as error:
                raise self._trouble(error) from error
            self._others = max(0, self._others - file.size)

    def close(self) -> None:
        """Leave all segments to other processes, or to the next start."""
        with self._lock:
            self._active = None
            for file in list(self._open):
                self.settle(file, delete=False)

    def after_fork(self) -> None:
        """Begin anew in a child: everything that is open belongs to the parent."""
        self._lock = threading.RLock()  # a thread that is not here may have held it
        for file in self._open:
            file.close()
        self._open.clear()
        self._active = None
        self._free.clear()

    def _claim(self) -> Segment | None:
        if not self._free:
            self._free.extend(self._names())
        while self._free:
            path = self._path(self._free.popleft())
            file = self._active if self._active and self._active.path == path else SegmentFile.take(path)
            if file is None:
                continue
            if file is self._active:
                self._active = None
                self._others += file.size
            self._open.add(file)
            segment = self._read(file)
            if segment.events or segment.damaged:
                return segment
            segment.done()  # nothing was written: its process died at once, or somebody has just emptied it
        return None

    def _read(self, file: SegmentFile) -> Segment:
        try:
            return Segment(self, file)
        except OSError:
            self._open.discard(file)
            file.close()
            raise

    def _room(self, lines: list[bytes], *, sync: bool) -> SegmentFile:
        """Give a segment of this process with room for the lines."""
        size = sum(map(len, lines))
        active = self._active
        if active and (
            active.written + len(lines) > self._segment_events or active.size + size > self._segment_bytes
        ):
            self._seal()
            active = None
        self._add_up()
        if self._others + (active.size if active else 0) + size > self.max_bytes:
            raise SpillError(
                f"spill directory {self.directory} is full: max_bytes={self.max_bytes} would be exceeded; "
                "it empties when the server takes events again"
            )
        if active is None:
            active = self._active = self._begin(sync=sync)
        return active

    def _add_up(self) -> None:
        now = self._clock()
        if (
            now >= self._look_again
        ):  # not for each event: to list a large directory takes milliseconds of the app's thread
            self._look_again = now + _LOOK_AGAIN_S
            self._others = self.size - (self._active.size if self._active else 0)

    def _begin(self, *, sync: bool) -> SegmentFile:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        file = None
        while file is None:
            file = SegmentFile.begin(self._path(self._ids() + _SUFFIX))
        self._open.add(file)
        if sync and hasattr(os, "O_DIRECTORY"):
            fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)  # the name too must survive a power cut
            finally:
                os.close(fd)
        return file

    def _seal(self) -> None:
        active, self._active = self._active, None
        if active:
            self._open.discard(active)
            self._others += active.size
            active.close()  # no longer locked: whoever claims it first sends it

    def _portions(self, lines: list[bytes]) -> Iterator[list[bytes]]:
        portion: list[bytes] = []
        size = 0
        for each in lines:
            if portion and (len(portion) == self._segment_events or size + len(each) > self._segment_bytes):
                yield portion
                portion, size = [], 0
            portion.append(each)
            size += len(each)
        if portion:
            yield portion

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.directory) if name.endswith(_SUFFIX))
        except FileNotFoundError:
            return []

    def _size(self, name: str) -> int:
        try:
            return os.stat(self._path(name)).st_size
        except FileNotFoundError:  # delivered meanwhile
            return 0

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _trouble(self, error: OSError, written: int = 0) -> SpillError:
        reason = error.strerror or str(error)
        return SpillError(f"spill directory {self.directory}: {reason}; see its disk and its rights", written)


def _after_fork() -> None:
    for spill in list(_spills):
        spill.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
