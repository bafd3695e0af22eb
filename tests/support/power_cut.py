"""What a power cut may leave of SQLite's files: a recorder of its real writes and syncs, and a replayer that loses some.

The recorder is a shim over SQLite's own unix VFS in the very library that Python uses, made the default one, so that the
code under test is the code that runs in production, byte for byte. The replayer rebuilds the files as they could look
after the power went at a given step: writes before a file's last sync are there; of later ones any 512-byte sectors may
be there or not, each by itself, in any order.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

SECTOR = 512
_OK = 0
_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P)
_DELETE = ctypes.CFUNCTYPE(_I, _P, ctypes.c_char_p, _I)
_WRITE = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_TRUNCATE = ctypes.CFUNCTYPE(_I, _P, _L)
_SYNC = ctypes.CFUNCTYPE(_I, _P, _I)


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = [
        ("version", _I),
        *((name, _P) for name in ("close", "read", "write", "truncate", "sync")),
        *((f"other{n}", _P) for n in range(13)),
    ]


class _Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        *((name, _I) for name in ("version", "file_bytes", "path_chars")),
        ("next", _P),
        ("name", ctypes.c_char_p),
        ("data", _P),
        *((name, _P) for name in ("open", "delete")),
        *((f"other{n}", _P) for n in range(13)),
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing SQLite asked the operating system for, or a note of the test."""

    kind: Literal["write", "truncate", "sync", "delete", "note"]
    name: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class Trace:
    """Everything written since the recording began, in order, and the files as they were before."""

    steps: list[Step] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Mark this instant."""
        self.steps.append(Step("note", text))

    def notes_before(self, cut: int) -> list[str]:
        """What had been noted when the power went."""
        return [step.name for step in self.steps[:cut] if step.kind == "note"]

    def after_cut(self, cut: int, random: Random, folder: Path) -> None:
        """Write into `folder` one possible state of the files after a cut before step `cut`."""
        steps = self.steps[:cut]
        names = {step.name for step in steps if step.kind != "note"} | self.before.keys()
        for name in names:
            mine = [step for step in steps if step.name == name and step.kind != "note"]
            synced = max((index + 1 for index, step in enumerate(mine) if step.kind == "sync"), default=0)
            image = bytearray(self.before.get(name, b""))
            tear(image, mine[:synced], None)
            if name not in self.before and not synced:
                continue  # its name in the folder is not durable before its first sync
            tear(image, mine[synced:], random)
            (folder / name).write_bytes(image)


def _apply(image: bytearray, step: Step) -> None:
    if step.kind == "write":
        image.extend(bytes(max(0, step.offset + len(step.data) - len(image))))
        image[step.offset : step.offset + len(step.data)] = step.data
    elif step.kind == "truncate":
        del image[step.offset :]
        image.extend(bytes(max(0, step.offset - len(image))))
    elif step.kind == "delete":
        image.clear()


def tear(image: bytearray, steps: list[Step], random: Random | None) -> None:
    """Apply a random part of each write: whole, not at all, or some of its sectors; all of them without `random`."""
    if random is None:
        for step in steps:
            _apply(image, step)
        return
    luck = random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    for step in steps:
        if step.kind != "write":
            if random.random() < luck:
                _apply(image, step)
            continue
        position, end = step.offset, step.offset + len(step.data)
        whole = random.random() < 0.3
        kept = random.random() < luck
        while position < end:
            edge = min(end, (position // SECTOR + 1) * SECTOR)
            if kept if whole else random.random() < luck:
                _apply(
                    image, Step("write", "", position, step.data[position - step.offset : edge - step.offset])
                )
            position = edge


@contextmanager
def recording(folder: Path) -> Iterator[Trace]:
    """Record what SQLite writes below `folder`, by every connection opened inside the block."""
    trace = Trace(before={file.name: file.read_bytes() for file in folder.iterdir() if _durable(file.name)})
    recorder = _Recorder(folder, trace)
    recorder.install()
    try:
        yield trace
    finally:
        recorder.remove()


def _durable(name: str) -> bool:
    return name.endswith((".db", "-wal"))


class _Recorder:
    """The shim: SQLite's VFS with `open` replaced, whose files have write, truncate and sync replaced."""

    def __init__(self, folder: Path, trace: Trace) -> None:
        self._folder, self._trace = folder.resolve(), trace
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._real: _Vfs = self._library.sqlite3_vfs_find(None).contents
        self._mine = _Vfs.from_buffer_copy(self._real)
        self._mine.name = b"recorder"
        self._names: dict[int, str] = {}
        self._methods: dict[int, _Methods] = {}
        self._calls = [_OPEN(self._open), _DELETE(self._delete)]
        self._files = [_WRITE(self._write), _TRUNCATE(self._truncate), _SYNC(self._sync)]
        self._mine.open, self._mine.delete = (ctypes.cast(call, _P).value for call in self._calls)

    def install(self) -> None:
        """Become the default VFS."""
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._mine), 1) == _OK

    def remove(self) -> None:
        """Give the default back; every connection made meanwhile is closed by now."""
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._real), 1) == _OK
        assert self._library.sqlite3_vfs_unregister(ctypes.byref(self._mine)) == _OK

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        # `name` must reach SQLite as the pointer it was: URI parameters stand behind the text, and SQLite reads them.
        answer: int = _OPEN(self._real.open)(vfs, name, file, flags, out)
        path = Path(ctypes.string_at(name).decode() if name else "")
        if answer == _OK and path.parent.resolve() == self._folder and _durable(path.name):
            slot = ctypes.cast(file, ctypes.POINTER(_P))
            self._names[file] = path.name
            slot[0] = ctypes.addressof(self._shimmed(slot[0]))
        return answer

    def _shimmed(self, real: int) -> _Methods:
        """A copy of the file methods that records; the original ones stay at hand."""
        if real not in self._methods:
            self._original = _Methods.from_address(real)
            copy = _Methods.from_buffer_copy(self._original)
            copy.write, copy.truncate, copy.sync = (ctypes.cast(call, _P).value for call in self._files)
            self._methods[real] = copy
        return self._methods[real]

    def _delete(self, vfs: int, name: bytes, sync: int) -> int:
        path = Path(name.decode())
        if path.parent.resolve() == self._folder and _durable(path.name):
            self._trace.steps.append(Step("delete", path.name))
        return int(_DELETE(self._real.delete)(vfs, name, sync))

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        self._trace.steps.append(Step("write", self._names[file], offset, ctypes.string_at(data, size)))
        return int(_WRITE(self._original.write)(file, data, size, offset))

    def _truncate(self, file: int, size: int) -> int:
        self._trace.steps.append(Step("truncate", self._names[file], size))
        return int(_TRUNCATE(self._original.truncate)(file, size))

    def _sync(self, file: int, flags: int) -> int:
        answer: int = _SYNC(self._original.sync)(file, flags)
        self._trace.steps.append(Step("sync", self._names[file]))
        return answer
