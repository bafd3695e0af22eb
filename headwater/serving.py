"""uvicorn inside another program: it leaves signals alone, says when it listens, and is idle when nobody asks."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

DATE_S = 1.0  # how often the Date header is renewed


class Server(uvicorn.Server):
    """A server whose `should_exit` wakes it, so that it need not look ten times a second as uvicorn does.

    `ready` is called once it listens. Set `should_exit` from the loop that serves.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        self._leave = asyncio.Event()
        super().__init__(config)
        self._ready = ready

    @property
    def should_exit(self) -> bool:
        """Whether it is to stop."""
        return self._leave.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._leave.set()
        else:
            self._leave.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def main_loop(self) -> None:
        """Renew the Date header until told to stop."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._leave.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the program's own business."""
        yield
