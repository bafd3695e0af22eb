"""The connection under the application: uvicorn's httptools protocol with the defences uvicorn leaves to a proxy.

* a request must arrive within `limits.body_timeout_s`, headers and body (slow loris, half-open connections);
* request line and headers have at most 64 KiB;
* only so many connections are open at once, the next one is told 503 at once;
* the PROXY protocol, from trusted peers, where it is switched on;
* everything refused here is answered as JSON with CORS headers, like any other answer.

A request refused before its body was read leaves the connection open and the body is read and thrown away: closing it
would reset the connection under the client's feet, and an SDK that never saw the 400 sends the poison again.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from collector import proxy_protocol
from collector.net import is_trusted, parse_address
from collector.replies import EXPOSED, Reply, refusal
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace

HEADER_BYTES = 64 * 1024
IDLE_S = 75  # of a kept connection; longer than the 60 s that load balancers keep theirs
_FRAMING = (b"content-length", b"transfer-encoding")
_RESERVED_FILES = 128  # of the process, for logs, databases and everything else
_MOST_CONNECTIONS = 20_000
_FALLBACK_S = 20.0


def connection_limit() -> int:
    """Connections that may be open at once: what the process's file limit allows, with a reserve."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(16, min(_MOST_CONNECTIONS, soft - _RESERVED_FILES))


class Cycle(RequestResponseCycle):
    """One request and its answer, written in one piece: the second `write` of head and body costs a fifth of a request."""

    held: Any = None  # the head, until the body comes

    async def send(self, message: Any) -> None:
        """ASGI's send; a streamed answer goes uvicorn's way."""
        if message["type"] == "http.response.start" and self.held is None and not self.response_started:
            self.held = message
            return
        start, self.held = self.held, None
        if start is None:
            await super().send(message)
        elif message.get("more_body") or self.flow.write_paused or self.scope["method"] == "HEAD":
            await super().send(start)
            await super().send(message)
        elif not self.disconnected:
            self._answer(start["status"], start["headers"], message.get("body", b""))

    def _answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Write a whole answer. Its headers are ours, or values that the parser has checked."""
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        lines = [STATUS_LINE[status]]
        sized = status == 204
        for name, value in (*self.default_headers, *headers):
            if name == b"content-length":
                sized = True
            elif name == b"connection" and value == b"close":
                self.keep_alive = False
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        if not sized:
            lines.append(b"content-length: %d\r\n" % len(body))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        lines.append(body)
        self.transport.write(b"".join(lines))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class CollectorProtocol(HttpToolsProtocol):
    """One connection."""

    max_connections = connection_limit()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        live = cast("LiveWorkspace | None", getattr(self.config.app, "live", None))
        self._workspace: Workspace | None = None if live is None else live.current
        self._timeout_s = _FALLBACK_S if live is None else live.current.limits.body_timeout_s
        self.access_log = False  # whatever the process's loggers say: paths and query strings hold write keys
        self._resuming = False  # the head of a request whose upgrade we declined is being passed over
        self._in_message = False  # between a request's first byte and its last
        self._in_head = False
        self._head_bytes = 0
        self._prelude: bytes | None = None  # a PROXY header that is not complete yet
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request; refuse a connection too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(refusal("too_many_connections", retry_after=2, close=True))
            return
        if self._expects_proxy_header():
            self._prelude = b""
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; keep the clock of a request that is not complete yet."""
        if self._prelude is not None:
            data = self._read_prelude(data)
            if not data:
                return
        if self._in_head:
            self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self.transport.is_closing():
            return
        if self._in_message:
            if self._in_head and self._head_bytes > HEADER_BYTES:
                self._refuse(refusal("headers_too_large", close=True))
            elif self._deadline is None:
                self._arm()
        elif self._deadline is not None:
            self._disarm()
        if self.timeout_keep_alive_task is None and self._is_idle():
            self._keep_alive()

    def _feed(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                self._decline_upgrade()
                data = memoryview(data)[upgrade.args[0] :]
            except HttpParserError:
                self._refuse(refusal("bad_request", close=True))
                return
            else:
                return

    def _decline_upgrade(self) -> None:
        """Answer over HTTP/1.1, as RFC 9110 allows; Java's client offers h2c with every POST.

        The parser takes what follows the head for another protocol, so a fresh one is told the body's framing and reads on.
        """
        framing = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] in _FRAMING)
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._resuming = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._resuming:
            return
        self._in_message = self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        if self._resuming:
            return
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; also bounds headers that arrive in a single read."""
        if self._resuming:
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > 2 * HEADER_BYTES:
            raise ValueError("headers too large")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The application takes over."""
        if self._resuming:
            self._resuming = False
            return
        self._in_head = False
        super().on_headers_complete()
        self.cycle.__class__ = Cycle  # its task has not begun; uvicorn has no other way to choose the class

    def on_message_complete(self) -> None:
        """The request is complete, unless its upgrade is about to be declined."""
        if self.parser.should_upgrade():
            return
        self._in_message = False
        super().on_message_complete()

    def _is_idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return not self._in_message and cycle is not None and cycle.response_complete

    def _keep_alive(self) -> None:
        """Uvicorn forgets its idle timer where a body arrives after its answer."""
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self._timeout_s, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        """The deadline has passed: a request not answered yet gets 408, and the connection ends."""
        self._deadline = None
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if not self._in_message and cycle is not None:
            return  # the request is complete and the application at work
        if self._in_message and not self._is_answering():
            self._refuse(refusal("body_timeout", retry_after=1, close=True))
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        """Whether bytes of an answer, or an earlier request of a pipeline, are on their way."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None:
            return False
        if self._in_head:
            return not cycle.response_complete
        return cycle.response_started or bool(self.pipeline)

    def _refuse(self, reply: Reply) -> None:
        """Answer outside the application and close."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self._is_answering():
            self.transport.close()
            return
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        lines = [STATUS_LINE[reply.status]]
        lines.append(b"access-control-allow-origin: *\r\naccess-control-expose-headers: %s\r\n" % EXPOSED)
        lines.extend(b"%s: %s\r\n" % header for header in reply.headers)
        self.transport.write(b"".join((*lines, b"\r\n", reply.body)))
        self.transport.close()

    def _expects_proxy_header(self) -> bool:
        if self._workspace is None or not self._workspace.collector.proxy_protocol or self.client is None:
            return False
        return is_trusted(parse_address(self.client[0]), self._workspace.collector.trusted_proxies)

    def _read_prelude(self, data: bytes) -> bytes:
        """Take the PROXY header off the front; what follows it, empty while it is incomplete."""
        assert self._prelude is not None
        self._prelude += data
        try:
            found = proxy_protocol.parse(self._prelude)
        except proxy_protocol.Malformed as error:
            self._refuse(refusal("bad_request", str(error), close=True))
            return b""
        if found is None:
            return b""
        rest, self._prelude = self._prelude[found.length :], None
        if found.client is not None:
            self.client = found.client
        return rest
