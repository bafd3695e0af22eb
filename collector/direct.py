"""A hot request answered at the connection: no task, no scope, no `receive` and `send`. The shell of `Ingest.post_whole`.

Half of what a single event costs is the machinery that ASGI needs around it, and none of it decides anything for a request
whose path is exactly a hot one, whose length is known, and that comes when nothing else is under way on its connection.
Every other request (a query string, chunks, `Expect`, a pipeline, an upgrade) goes through ASGI; both ways meet in `Ingest`
and give the same answers, which a test keeps equal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from collector.ingest import Asked, Ingest, Refused
from collector.replies import SUCCESS, Headers, Reply, on_the_wire, refusal
from collector.routes.table import INGEST, Route, with_slash
from collector.throttle import Ticket

logger = logging.getLogger(__name__)

TARGETS: dict[bytes, Route] = {
    form.encode(): route for route in INGEST for form in with_slash(route.path)
}  # request targets


class Transport(Protocol):
    """The part of a connection's transport that an answer needs."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def close(self) -> None:
        """Close once everything is sent."""
        ...

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        ...


class _Nobody:
    def set(self) -> None:
        """Wake nobody: a direct request has no task that waits."""


class Direct:
    """One request, standing where uvicorn keeps a request's cycle (and with what uvicorn asks of one)."""

    __slots__ = (
        "_begin",
        "_ingest",
        "_on_response",
        "_origin",
        "_pieces",
        "_ticket",
        "_transport",
        "asked",
        "default_headers",
        "disconnected",
        "keep_alive",
        "response_complete",
        "response_started",
    )
    message_event = _Nobody()

    def __init__(
        self,
        ingest: Ingest,
        asked: Asked,
        transport: Transport,
        default_headers: Headers,
        on_response: Callable[[], None],
        *,
        keep_alive: bool,
    ) -> None:
        self._ingest, self.asked, self._transport = ingest, asked, transport
        self.default_headers, self._on_response, self.keep_alive = default_headers, on_response, keep_alive
        self._begin = ingest.clock.monotonic()
        self._origin = asked.headers.get(b"origin")
        self._pieces: list[bytes] = []
        self._ticket: Ticket | None = None
        self.disconnected = self.response_started = self.response_complete = False

    def admit(self) -> bool:
        """Ask for room before the body comes; False where the request was refused and answered."""
        try:
            self._ticket = self._ingest.admit(self.asked)
        except Refused as refused:
            self._answer(refused.reply())
        except Exception:  # the supervisor of one request: whatever breaks, the client is told to come again
            logger.exception("a request to %s failed", self.asked.route.path)
            self._answer(refusal("internal_error", retry_after=1))
        return self._ticket is not None

    def feed(self, piece: bytes) -> None:
        """A part of the body."""
        self._pieces.append(piece)

    def complete(self) -> None:
        """The body is there: it is judged soon, and answered then or with the log's word."""
        self._ingest.turns.add(self._judge)

    def _judge(self) -> None:
        pieces, ticket = self._pieces, self._ticket
        assert ticket is not None
        self._pieces = []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            self._ingest.post_whole(self.asked, body, ticket, self._answer)
        except Exception:  # the supervisor of one request, as above
            logger.exception("a request to %s failed", self.asked.route.path)
            self._answer(refusal("internal_error", retry_after=1))

    def leave(self) -> None:
        """Give back what was reserved; the rest of the request will not come, or it is answered."""
        if self._ticket is not None:
            self._ticket.leave()
            self._ticket = None

    def _answer(self, reply: Reply) -> None:
        self.leave()
        ingest = self._ingest
        ingest.tally.inflight_bytes = ingest.gate.bytes
        ingest.tally.request(self.asked.route.path, reply.status, ingest.clock.monotonic() - self._begin)
        if self.disconnected or self.response_complete or self._transport.is_closing():
            return
        self.response_started = self.response_complete = True
        cors = ingest.view.cors.headers(self._origin)
        if reply is SUCCESS and self.keep_alive:
            self._transport.write(_success(self.default_headers, cors))
        else:
            headers = [*self.default_headers, *reply.headers, *cors]
            data, self.keep_alive = on_the_wire(reply.status, headers, reply.body, keep_alive=self.keep_alive)
            self._transport.write(data)
            if not self.keep_alive:
                self._transport.close()
        on_response, self._on_response = self._on_response, _nothing  # no cycle for the collector of garbage
        on_response()


def _nothing() -> None:
    """There is nothing more to tell."""


_made: tuple[Headers, Headers, bytes] = ([], [], b"")


def _success(default_headers: Headers, cors: Headers) -> bytes:
    """The usual answer as bytes; made anew when the date moves on or the origin is another one."""
    global _made  # noqa: PLW0603 - one answer, cached by the identity of the lists it was made from
    if _made[0] is not default_headers or _made[1] is not cors:
        headers = [*default_headers, *SUCCESS.headers, *cors]
        data, _ = on_the_wire(SUCCESS.status, headers, SUCCESS.body, keep_alive=True)
        _made = (default_headers, cors, data)
    return _made[2]
