"""The spool on disk: a bounded queue of record batches that survives SIGKILL and power cuts. Blocks; one thread at a time.

Everything is written with one sync for each batch. What a batch is worth is decided when it is read: a file that ends in
half a frame was being written when the machine died (nobody was told that it was kept), a sequence number that is missing is
an acknowledged batch that somebody else destroyed.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from headwater.clock import Clock
from headwater.errors import LogUnavailable
from headwater.log.lock import FileLock
from headwater.log.protocol import Entry
from headwater.log.spool_cursor import Cursor, Place
from headwater.log.spool_folder import ASIDE, LOCK, Folder, Segment
from headwater.log.spool_frame import HEAD_BYTES, Damage, Frame, entries_of, frame, kept_ms_of, walk
from headwater.metrics import SPOOL_LOST

logger = logging.getLogger(__name__)

SEGMENT_BYTES = (
    8 << 20
)  # a file is closed beyond this: it is read whole when it is drained, and removed whole
GROUP_BYTES = 2 << 20  # unpacked bytes given to the log at once; what a crash at the wrong instant doubles
_SALT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Group:
    """The oldest records of the spool; `until` is the sequence number behind them."""

    entries: list[Entry]
    events: int
    until: int
    whole: bool  # whether it was everything there was


class Store:
    """The frames in a folder, from `drained` to `end`. Opened by one process, which the lock makes sure of."""

    def __init__(
        self, folder: Folder, capacity: int, clock: Clock, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.folder, self.capacity, self._clock = folder, capacity, clock
        self._segment_bytes = min(segment_bytes, max(4096, capacity // 8))
        self._lock = FileLock(folder.path / LOCK, "collector")
        self._segments: deque[Segment] = deque()
        self._buffer: deque[Frame] = deque()  # read back, and not in the log yet
        self._growing = False  # whether the last segment is ours to write on
        self._next: Segment | None = None  # made, but its first frame could not be written yet
        self._unsaved = False  # whether the cursor on disk is behind
        self.drained = self.end = self._expected = 0
        self.bytes = 0
        self.oldest_ms = 0  # when the oldest file's first frame was kept; 0 where there is none

    @property
    def empty(self) -> bool:
        """Whether every frame is in the log."""
        return self.drained == self.end

    def open(self) -> None:
        """Find what earlier processes have left. Raises AlreadyRunning, and LogUnavailable for an unusable folder."""
        try:
            self.folder.make()
            self._lock.acquire()
            self._cursor = Cursor(self.folder)
            self._recover()
            self._cursor.store(Place(self.drained, self.end))
        except OSError as error:
            self._lock.release()
            raise self._refusal(error, "the collector cannot start without it; mend that") from error

    def close(self) -> None:
        """Write down where the spool ends, so that a loss of its last frames would be noticed."""
        try:
            self._cursor.store(Place(self.drained, self.end))
        finally:
            self._lock.release()

    def abandon(self) -> None:
        """Let go as a killed process would."""
        self._lock.release()

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep a batch; durable when this returns. Raises LogUnavailable: it was not kept."""
        segment = self._writable()
        data = frame(self.end, entries, self._clock.now_ms(), segment.salt)
        if self.bytes + len(data) > self.capacity:
            raise LogUnavailable(
                f"the log takes nothing and the spool is full: {self.folder.path} holds {self.bytes} of {self.capacity} "
                "bytes (log.spool_bytes); it is emptied as soon as the log answers"
            )
        self._write(segment, data)
        self.end += 1

    def group(self, max_bytes: int = GROUP_BYTES) -> Group | None:
        """The oldest frames, the same ones until `advance`; None where there are none. Raises OSError."""
        if self._unsaved:
            self._save()
        self._fill()
        if not self._buffer:
            self._skip_to_end()
            return None
        entries, events, size, until = list[Entry](), 0, 0, self.drained
        for found in self._buffer:
            if size >= max_bytes:
                break
            fresh = entries_of(found)
            entries += fresh
            events += found.events
            size += sum(len(entry.record.value or b"") for entry in fresh)
            until = found.sequence + 1
        return Group(entries, events, until, until == self.end)

    def advance(self, until: int) -> None:
        """Frames below `until` are in the log: write that down, then remove what is not needed. Raises OSError."""
        while self._buffer and self._buffer[0].sequence < until:
            self._buffer.popleft()
        self.drained = until
        self._unsaved = True
        self._save()

    def _save(self) -> None:
        self._cursor.store(Place(self.drained, self.end))
        while self._segments and self._end_of(0) <= self.drained:
            self._retire(self._segments[0])
            self._segments.popleft()
        self._growing = self._growing and bool(self._segments)
        self._unsaved = False
        self._count()

    def _count(self) -> None:
        self.bytes = sum(segment.size for segment in self._segments)
        self.oldest_ms = self._segments[0].kept_ms if self._segments else 0

    def _retire(self, segment: Segment) -> None:
        if segment.damaged:
            self.folder.set_aside(segment.name)
        else:
            self.folder.remove(segment.name)

    def _writable(self) -> Segment:
        """The file to write on. A new one keeps its name until its first frame is in it: two never begin alike."""
        if self._growing and self._segments[-1].size < self._segment_bytes:
            return self._segments[-1]
        if self._next is None:
            self._next = Segment(self.end, int.from_bytes(os.urandom(_SALT_BYTES), "little"))
        return self._next

    def _write(self, segment: Segment, data: bytes) -> None:
        fresh = segment is self._next
        try:
            self.folder.put(segment.name, segment.size, data)
            if fresh:
                self.folder.sync()
        except OSError as error:
            self._take_back(segment, fresh=fresh)
            raise self._refusal(
                error, "the log takes nothing either, and nothing was acknowledged"
            ) from error
        if fresh:
            segment.kept_ms = self._clock.now_ms()
            self._segments.append(segment)
            self._growing, self._next = True, None
        segment.size += len(data)
        self._count()

    def _take_back(self, segment: Segment, *, fresh: bool) -> None:
        """Remove half a frame. Where even that fails, the next frame is written over it; a start meanwhile ignores it."""
        try:
            if fresh:
                self.folder.remove(segment.name)
            else:
                self.folder.cut(segment.name, segment.size)
        except OSError as error:
            logger.warning("%s: what could not be written cannot be cut off: %s", segment.name, error)

    def _recover(self) -> None:
        place = self._cursor.place
        self._segments = deque(self.folder.segments())
        for segment in self._segments:
            segment.kept_ms = kept_ms_of(self.folder.read(segment.name, 0, HEAD_BYTES))
        self.end = max(self._last_written(place.end if place else 0), *(place or (0, 0)))
        first = self._segments[0].first if self._segments else self.end
        self.drained = self._expected = place.drained if place else first
        if place is None and self._segments:
            logger.warning(
                "%s: there is no cursor; what was drained already is appended once more", self.folder.path
            )
        while self._segments and self._end_of(0) <= self.drained:
            self._segments[0].damaged = self._lost_in(self._segments[0], self._end_of(0))
            self._retire(self._segments[0])
            self._segments.popleft()
        self.folder.sync()
        self._count()

    def _last_written(self, promised: int) -> int:
        """The sequence number behind the last whole frame; files that hold none are removed from the end.

        What is known to have been acknowledged (below `promised`) is moved aside instead.
        """
        while self._segments:
            last = self._segments[-1]
            found = list(walk(self.folder.read(last.name, 0, last.size), last.salt))
            if found and isinstance(found[-1], Damage):
                logger.warning(
                    "%s: its last %d bytes are no whole batch: they were being written when the process or the machine "
                    "died, and nobody was told that they were kept",
                    self.folder.path / last.name,
                    found[-1].end - found[-1].start,
                )
            if sequences := [one.sequence for one in found if isinstance(one, Frame)]:
                self.folder.settle(last.name)  # what is believed now must not vanish in a power cut later
                return sequences[-1] + 1
            last.damaged = last.first < promised
            self._retire(last)
            self._segments.pop()
        return 0

    def _lost_in(self, segment: Segment, limit: int) -> bool:
        """Whether frames of a file that was drained are not in it."""
        found = walk(self.folder.read(segment.name, 0, segment.size), segment.salt)
        return sum(isinstance(one, Frame) for one in found) < limit - segment.first

    def _end_of(self, index: int) -> int:
        """The sequence number at which a segment ends: where the next one begins."""
        return self._segments[index + 1].first if index + 1 < len(self._segments) else self.end

    def _fill(self) -> None:
        """Read frames back, a file at a time, until there is one to drain or nothing is left."""
        for index, segment in enumerate(self._segments):
            if self._buffer:
                return
            if segment.read < segment.size:
                self._read_back(segment, self._end_of(index))

    def _read_back(self, segment: Segment, limit: int) -> None:
        if segment.first > self._expected:
            self._lose(None, segment.first)
        try:
            data = self.folder.read(segment.name, segment.read, segment.size - segment.read)
        except FileNotFoundError:
            data = b""
        broken = False
        for found in walk(data, segment.salt):
            if isinstance(found, Damage):
                broken = True
                continue
            segment.damaged |= broken
            if found.sequence > self._expected:
                self._lose(segment, found.sequence)
            if found.sequence == self._expected:
                self._buffer.append(found)
                self._expected += 1
        segment.read = segment.size
        if self._expected < limit:
            self._lose(segment, limit)

    def _skip_to_end(self) -> None:
        """Nothing can be read any more: what is missing up to the end is lost, and the cursor moves behind it."""
        if self._expected < self.end:
            self._lose(None, self.end)
        if self.drained < self.end:
            self.advance(self.end)

    def _lose(self, segment: Segment | None, found: int) -> None:
        """Say that frames which were acknowledged are not there, and go on behind them."""
        missing = found - self._expected
        SPOOL_LOST.inc(missing)
        where = self.folder.path if segment is None else self.folder.path / segment.name
        kept = "" if segment is None else f"; the file is kept in {ASIDE}/ once the rest of it is drained"
        logger.error(
            "%s: %d acknowledged batches (numbers %d to %d) are not as they were written, or gone: the disk or another "
            "program changed the spool%s",
            where,
            missing,
            self._expected,
            found - 1,
            kept,
        )
        self._expected = found
        if segment is not None:
            segment.damaged = True

    def _refusal(self, error: OSError, so: str) -> LogUnavailable:
        return LogUnavailable(
            f"the spool {self.folder.path} cannot be used: {error.strerror or error}; {so} "
            f"(df -h, ls -ld {self.folder.path})"
        )
