"""What the spool's tests share: a folder whose writes are recorded, refused or lost, and what a power cut may leave of it."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal, Self
from unittest.mock import patch

from headwater.clock import ManualClock
from headwater.log.protocol import Entry, Record
from headwater.log.spool_folder import Folder
from headwater.log.spool_store import Store
from headwater.log.topics import ACCEPTED
from tests.support.power_cut import Step, tear


def entry(value: bytes, partition: int = 0) -> Entry:
    """A record on its way to the accepted events."""
    return Entry(ACCEPTED, partition, Record(value, timestamp=1))


def drained(store: Store, max_bytes: int = 1 << 20) -> list[bytes]:
    """Drain everything; the values in order."""
    found = []
    while (group := store.group(max_bytes)) is not None:
        found += [one.record.value or b"" for one in group.entries]
        store.advance(group.until)
    return found


def opened(folder: Folder | Path, capacity: int = 1 << 20, segment_bytes: int = 4096) -> Store:
    """An open store with small files."""
    place = folder if isinstance(folder, Folder) else Folder(folder)
    store = Store(place, capacity, ManualClock(), segment_bytes)
    store.open()
    return store


class Killed(BaseException):
    """SIGKILL, at this very place."""


@dataclass(frozen=True, slots=True)
class Naming:
    """A change of the folder itself: a file made or removed."""

    kind: Literal["made", "removed"]
    name: str


@dataclass
class RecordingFolder(Folder):
    """Remembers each write, sync and change of names, in order; `full` lets writes fail half-way."""

    path: Path
    steps: list[Step | Naming] = field(default_factory=list)
    full: bool = False
    dies: bool = False  # before the next write is synced

    @classmethod
    def of(cls, path: Path) -> Self:
        """A folder whose files are durable as they are."""
        folder = cls(path)
        for file in sorted(path.glob("[!.]*")):
            folder.steps += [Naming("made", file.name), Step("write", file.name, 0, file.read_bytes())]
            folder.steps.append(Step("sync", file.name))
        folder.steps.append(Step("sync", ""))
        return folder

    def put(self, name: str, start: int, data: bytes) -> None:
        """Write, or write half and fail as a full disk does."""
        if not (self.path / name).exists():
            self.steps.append(Naming("made", name))
        pwrite, fdatasync = os.pwrite, os.fdatasync

        def write(handle: int, piece: bytes, at: int) -> int:
            if self.full and at > start:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            piece = bytes(piece[: len(piece) // 2] if self.full else piece)
            self.steps.append(Step("write", name, at, piece))
            return pwrite(handle, piece, at)

        def sync(handle: int) -> None:
            if self.dies:
                raise Killed
            fdatasync(handle)
            self.steps.append(Step("sync", name))

        with patch.object(os, "pwrite", write), patch.object(os, "fdatasync", sync):
            super().put(name, start, data)

    def settle(self, name: str) -> None:
        """Make durable."""
        super().settle(name)
        self.steps.append(Step("sync", name))

    def cut(self, name: str, size: int) -> None:
        """Shorten."""
        self.steps.append(Step("truncate", name, size))
        super().cut(name, size)

    def remove(self, name: str) -> None:
        """Remove."""
        if (self.path / name).exists():
            self.steps.append(Naming("removed", name))
        super().remove(name)

    def sync(self) -> None:
        """Names are durable from here on."""
        super().sync()
        self.steps.append(Step("sync", ""))

    def note(self, text: str) -> None:
        """Mark this instant."""
        self.steps.append(Step("note", text))

    def notes_before(self, cut: int) -> list[str]:
        """What had been noted when the power went."""
        return [step.name for step in self.steps[:cut] if isinstance(step, Step) and step.kind == "note"]

    def after_cut(self, cut: int, random: Random, folder: Path) -> None:
        """Write into `folder` one possible state after a cut before step `cut`.

        A name made or removed after the folder's last sync may be there or not; of a file's bytes, what was written after
        its own last sync may be there in part.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        steps = self.steps[:cut]
        synced = max((n for n, step in enumerate(steps) if step == Step("sync", "")), default=-1)
        names = {step.name: step.kind == "made" for step in steps[: synced + 1] if isinstance(step, Naming)}
        for step in steps[synced + 1 :]:
            if isinstance(step, Naming) and random.random() < 0.5:
                names[step.name] = step.kind == "made"
        for name in (name for name, there in names.items() if there):
            mine = [
                step for step in steps if isinstance(step, Step) and step.name == name and step.kind != "note"
            ]
            image = bytearray()
            last = max((n + 1 for n, step in enumerate(mine) if step.kind == "sync"), default=0)
            tear(image, mine[:last], None)
            tear(image, mine[last:], random)
            (folder / name).write_bytes(image)
