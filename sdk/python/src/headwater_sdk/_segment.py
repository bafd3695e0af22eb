"""One file of spilled events, open and locked: its format and the care it takes with a disk that fails.

A record is a line: CRC-32 in hex, a space, the event. A line cut off by a power cut or a full disk fails its checksum
and is skipped and counted; the lines around it hold.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from zlib import crc32

from headwater_sdk._filelock import try_lock

_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)


def line(event: bytes) -> bytes:
    """Write an event as a record."""
    assert b"\n" not in event, "an event is one line of JSON"
    return b"%08x %b\n" % (crc32(event), event)


class SegmentFile:
    """A segment that is locked by this process until `close`, or until the process ends in whatever way."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.size = os.fstat(fd).st_size
        self.written = 0  # records of this process
        self._fd = fd

    @classmethod
    def take(cls, path: str) -> SegmentFile | None:
        """Open and lock a file; None when it is gone or has an owner: a live process, or another user of the machine."""
        try:
            return cls._lock(path, os.open(path, _FLAGS))
        except (FileNotFoundError, PermissionError):
            return None

    @classmethod
    def begin(cls, path: str) -> SegmentFile | None:
        """Make a file and lock it; None when another process saw it before the lock and takes it for a dead one's."""
        return cls._lock(
            path, os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        )  # events may be personal data

    @classmethod
    def _lock(cls, path: str, fd: int) -> SegmentFile | None:
        # It may have been deleted between open and lock: then the lock is on a file that has no name any more.
        try:
            if try_lock(fd) and os.fstat(fd).st_nlink:
                return cls(path, fd)
        except OSError:  # a file system without locks
            os.close(fd)
            raise
        os.close(fd)
        return None

    def write(self, lines: Sequence[bytes], *, sync: bool) -> None:
        """Append records, all or (when the disk refuses) none."""
        data = b"".join(lines)
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
            if sync:
                os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)
        self.written += len(lines)

    def read(self) -> tuple[list[bytes], int]:
        """Return the events, and the number of records that are damaged."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._fd), "rb") as file:
            *lines, torn = file.read().split(b"\n")
        events = [line[9:] for line in lines if line[:9] == b"%08x " % crc32(line[9:])]
        return events, len(lines) - len(events) + bool(torn)

    def delete(self) -> None:
        """Remove the file, locked until it has no name: a writer that has just made one must not take over this one."""
        try:
            # Emptied first: Windows removes a file only when it is closed, and who opens it then must find nothing to send.
            os.ftruncate(self._fd, 0)
            removed = self._unlink()
        finally:
            self.close()
        if not removed:
            self._unlink()

    def _unlink(self) -> bool:
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return True
        except (
            PermissionError
        ):  # Windows: it is open, here or elsewhere; whoever claims an empty file removes it
            return False
        return True

    def close(self) -> None:
        """Unlock and leave the file as it is.

        Closing alone: a forked child closes what it inherited, and an explicit unlock would take the parent's lock.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
