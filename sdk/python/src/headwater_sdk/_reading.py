"""Reads an answer within a deadline. `http.client` alone bounds each read: one that trickles takes as long as it likes."""

from __future__ import annotations

import io
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    import socket
    from typing import Any, Callable


class Deadline:
    """Until when the request under way may take, and whether its server has closed the connection."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began = self._at = 0.0
        self.ended = False  # nothing more comes: somebody has tried to read beyond the last byte

    def begin(self, seconds: float) -> None:
        """Count from now."""
        self._began = self._monotonic()
        self._at = self._began + seconds

    def took(self) -> float:
        """Return how many seconds have gone by."""
        return self._monotonic() - self._began

    def left(self) -> float:
        """Return how many seconds are left; TimeoutError where none are."""
        left = self._at - self._monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        return left

    def response(self, connection: socket.socket, *options: Any, **more: Any) -> http.client.HTTPResponse:
        """Be the `response_class` of a connection: an answer whose every read ends at the deadline."""
        import http.client

        self.ended = False
        reading: Any = _Reading(connection, self)  # for a socket, of which an answer uses `makefile` only
        return http.client.HTTPResponse(reading, *options, **more)


class _Reading(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._file = connection.makefile(
            "rb", buffering=0
        )  # keeps the socket open, as `http.client` relies on

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(self._deadline.left())
        size = self._file.readinto(buffer)
        self._deadline.ended = size == 0
        return size

    def close(self) -> None:
        self._file.close()
        super().close()
