"""Waking readers in other processes when a log file grew: one named pipe per reader, one byte per commit.

A pipe whose reader was killed says so when it is opened (ENXIO) and is removed by the next ring. Losing a wake-up costs
at most the second that readers poll at (see `headwater.log.sqlite`), so nothing here can fail a commit.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

_log = logging.getLogger(__name__)


class Bell:
    """Rung by the writer of a file after each commit. Belongs to one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pipes: dict[str, int] = {}

    def ring(self) -> None:
        """Wake every reader that is alive."""
        try:
            names = {n for n in os.listdir(self._folder) if not n.startswith(".")}  # noqa: PTH208 - names alone, at each commit
        except OSError:  # the folder is made by the first reader, and `run` may be cleared by hand
            names = set()
        for gone in self._pipes.keys() - names:
            os.close(self._pipes.pop(gone))
        for name in names:
            self._ring_one(name)

    def close(self) -> None:
        """Release the pipes."""
        for pipe in self._pipes.values():
            os.close(pipe)
        self._pipes.clear()

    def _ring_one(self, name: str) -> None:
        path = self._folder / name
        try:
            if name not in self._pipes:
                self._pipes[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(self._pipes[name], b"!")
        except BlockingIOError:
            return  # the pipe is full: its reader has yet to wake up for an earlier ring
        except OSError as error:
            if name in self._pipes:
                os.close(self._pipes.pop(name))
            if error.errno in {errno.ENXIO, errno.EPIPE}:
                path.unlink(missing_ok=True)  # its reader died
            elif error.errno != errno.ENOENT:
                _log.warning("cannot wake the reader at %s: %s; it polls every second instead", path, error)


class Ear:
    """Hears the bell of one file; `heard` is called in the event loop."""

    def __init__(self, folder: Path, heard: Callable[[], None]) -> None:
        self._folder, self._heard = folder, heard
        self._path = folder / f"{os.getpid()}-{uuid4().hex}"
        self._pipe: int | None = None

    def open(self) -> None:
        """Start to listen; where the folder cannot be written (another user's), only polling is left."""
        hidden = self._folder / f".{self._path.name}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            os.mkfifo(hidden)
            # Both ends, so that it never reads as closed; visible only once there is a reader, else a ring in between
            # would take it for a dead one.
            self._pipe = os.open(hidden, os.O_RDWR | os.O_NONBLOCK)
            hidden.rename(self._path)
        except OSError as error:
            _log.info("cannot listen in %s: %s; polling every second", self._folder, error)
            return
        asyncio.get_running_loop().add_reader(self._pipe, self._drain, self._pipe)

    def close(self) -> None:
        """Stop to listen."""
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None
            self._path.unlink(missing_ok=True)

    def _drain(self, pipe: int) -> None:
        try:
            os.read(pipe, 65_536)
        except BlockingIOError:
            return
        self._heard()
