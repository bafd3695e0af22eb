"""The spool's folder as the operating system sees it: writes that are durable when they return, and the names of files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from headwater.log.sqlite_file import sync

CURSOR = "cursor"
LOCK = "lock"
ASIDE = "aside"  # files with damaged parts, kept for whoever looks into it
_NAME = re.compile(r"(\d{20})-([0-9a-f]{8})\.spool")


@dataclass(slots=True)
class Segment:
    """One file of frames. `size` is how much of it counts, `read` how much of that has been read back."""

    first: int  # the sequence number of its first frame
    salt: int
    size: int = 0
    read: int = 0
    kept_ms: int = 0  # when its first frame was kept
    damaged: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.first:020d}-{self.salt:08x}.spool"

    @classmethod
    def named(cls, name: str, size: int) -> Self | None:
        """The segment that a file of this name is, or None for any other file."""
        found = _NAME.fullmatch(name)
        return cls(int(found[1]), int(found[2], 16), size) if found else None


class Folder:
    """A folder; its files are named, never held open. Everything here raises OSError and blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make it, its owner's alone."""
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(self.path.parent)

    def segments(self) -> list[Segment]:
        """The files of frames, oldest first; files that vanish meanwhile are not there."""
        found = []
        for name in sorted(path.name for path in self.path.iterdir()):
            try:
                segment = Segment.named(name, (self.path / name).stat().st_size)
            except FileNotFoundError:
                continue
            if segment is not None:
                found.append(segment)
        return found

    def holds_segments(self) -> bool:
        """Whether there is something to drain."""
        return self.path.is_dir() and bool(self.segments())

    def read(self, name: str, start: int, size: int) -> bytes:
        """That part of a file; less where the file is shorter."""
        with (self.path / name).open("rb") as stream:
            stream.seek(start)
            return stream.read(size)

    def put(self, name: str, start: int, data: bytes) -> None:
        """Write at a place of a file that is made where it does not exist; durable, but for a new name (`sync`)."""
        handle = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(handle, memoryview(data)[done:], start + done)
            os.fdatasync(handle)
        finally:
            os.close(handle)

    def settle(self, name: str) -> None:
        """Make durable what is in a file: a process that was killed may not have come to that."""
        sync(self.path / name)

    def cut(self, name: str, size: int) -> None:
        """Shorten a file; what is behind its end counts for nothing, so this need not be durable."""
        os.truncate(self.path / name, size)

    def remove(self, name: str) -> None:
        """Remove a file; harmless where it is gone, and where it comes back after a power cut."""
        (self.path / name).unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Move a file out of the way, durably."""
        aside = self.path / ASIDE
        aside.mkdir(mode=0o700, exist_ok=True)
        if (self.path / name).exists():
            (self.path / name).rename(aside / name)
            sync(aside)
            self.sync()

    def aside(self) -> list[Path]:
        """The files that were moved out of the way."""
        folder = self.path / ASIDE
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def sync(self) -> None:
        """Make the names durable."""
        sync(self.path)
