"""Copying files at a bounded rate, with their sizes and checksums, so that what else uses the disk hardly notices."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from headwater.run.manifest import File

CHUNK = 1 << 20

Report = Callable[[int], None]  # bytes done since the last call


class Rate:
    """Sleeps so that no more than `bytes_s` bytes pass in a second (0: no limit), and reports what passed."""

    def __init__(self, bytes_s: int, report: Report) -> None:
        self._bytes_s, self._report = bytes_s, report
        self._due = time.monotonic()

    def passed(self, size: int) -> None:
        """So many bytes more have been copied."""
        self._report(size)
        if self._bytes_s:
            self._due = max(self._due, time.monotonic() - 1.0) + size / self._bytes_s
            time.sleep(max(0.0, self._due - time.monotonic()))


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file below a folder, as paths relative to it, in order; links are left out."""
    for found in sorted(folder.rglob("*")):
        if found.is_file() and not found.is_symlink():
            yield found.relative_to(folder)


def copy(source: Path, target: Path, rate: Rate) -> str:
    """Copy one file durably into a folder that may have to be made; the SHA-256 of what was read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb", buffering=0) as reading, target.open("xb", buffering=0) as writing:
        while data := reading.read(CHUNK):
            digest.update(data)
            _write(writing.fileno(), data)
            rate.passed(len(data))
        os.fsync(writing.fileno())
        for stream in (reading, writing):  # the page cache is for those who work
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return digest.hexdigest()


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def described(folder: Path, path: Path, rate: Rate) -> File:
    """A file as the manifest has it; reads it once."""
    digest = hashlib.sha256()
    with (folder / path).open("rb", buffering=0) as stream:
        while data := stream.read(CHUNK):
            digest.update(data)
            rate.passed(len(data))
        size = stream.tell()
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return File(path.as_posix(), size, digest.hexdigest())


def sync_folders(folder: Path) -> None:
    """Make the names of everything below a folder survive a power cut, and the folder's own."""
    from headwater.log.sqlite_file import sync

    for found in folder.rglob("*"):
        if found.is_dir():
            sync(found)
    sync(folder)
    sync(folder.absolute().parent)
