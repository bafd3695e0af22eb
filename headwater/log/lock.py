"""One writing process per log file: an exclusive lock that the kernel drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from headwater.errors import AlreadyRunning


class FileLock:
    """An flock on `path`, which also tells the holder's pid.

    A file of its own: closing any handle of the database file would drop SQLite's own POSIX locks of this process.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._path, self._owner = path, owner
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises AlreadyRunning with the holder's pid."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid(os.read(handle, 32))
            os.close(handle)
            raise AlreadyRunning(
                f"{self._path}: process {pid or 'unknown'} is the {self._owner} of this folder already; "
                "stop it first, or use another --dir",
                pid,
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Give the lock up; harmless when it is not held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _pid(text: bytes) -> int:
    return int(text) if text.strip().isdigit() else 0
