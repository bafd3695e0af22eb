"""The connection under the application: uvicorn's httptools protocol with the defences uvicorn leaves to a proxy.

* a request must arrive within `limits.body_timeout_s`, headers and body (slow loris, half-open connections);
* request line and headers have at most 64 KiB, and so has whatever frames a body; trailers are passed over, as RFC 9110
  tells whoever knows no use for them;
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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from collector import proxy_protocol
from collector.direct import TARGETS, Direct
from collector.ingest import Asked, Ingest
from collector.net import is_trusted, parse_address
from collector.replies import EXPOSED, STATUS_LINES, Reply, on_the_wire, refusal
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


class _HeadTooLarge(ValueError):
    """Request line and headers have more than HEADER_BYTES."""


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
        """Write a whole answer."""
        self.response_started = self.response_complete = True
        if self.waiting_for_100_continue:  # refused unread: nobody knows whether the body comes all the same
            self.keep_alive = False
        every = (*self.default_headers, *headers)
        data, self.keep_alive = on_the_wire(status, every, body, keep_alive=self.keep_alive)
        self.transport.write(data)
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
        self._head_bytes = 0  # at most so many since a request began or a byte of its body came
        self._prelude: bytes | None = None  # a PROXY header that is not complete yet
        self._deadline: asyncio.TimerHandle | None = None
        self._ingest = cast("Ingest | None", getattr(self.config.app, "ingest", None))
        self._direct: Direct | None = None  # the request whose body is coming, unless ASGI has it
        self._idle_since = 0.0

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
        """Forget the timers, and the request that will not be complete."""
        self._disarm()
        if self._direct is not None:
            self._direct.leave()
            self._direct = None
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has said everything may still listen: what it asked is answered, then the connection ends."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self._in_message or cycle is None or cycle.response_complete:
            return False
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Feed the parser; keep the clock of a request that is not complete yet."""
        if self._prelude is not None:
            data = self._read_prelude(data)
            if not data:
                return
        self._head_bytes += len(data)
        self._feed(data)
        if self.transport.is_closing():
            return
        if self._in_message:
            if self._head_bytes > HEADER_BYTES:
                self._refuse(refusal("headers_too_large", close=True))
            elif self._deadline is None:
                self._arm()
        elif self._deadline is not None:
            self._disarm()
        if self._is_idle():  # uvicorn forgets its idle timer where a body arrives after its answer
            self._keep_alive()

    def _feed(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                self._decline_upgrade()
                data = memoryview(data)[upgrade.args[0] :]
            except HttpParserError as error:
                code = "headers_too_large" if isinstance(error.__context__, _HeadTooLarge) else "bad_request"
                self._refuse(refusal(code, close=True))
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
        """A request begins; what ASGI needs for it is made when it is known that ASGI gets it."""
        if self._resuming:
            return
        self._in_message = self._in_head = True
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        if self._resuming:
            return
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Trailers come here too, and are none: whatever checks headers on the way has not seen them."""
        if self._resuming or not self._in_head:
            return
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The request is told apart: answered here, or by the application."""
        if self._resuming:
            self._resuming = False
            return
        self._in_head = False
        if self._head_bytes > HEADER_BYTES and self._size_of_head() > HEADER_BYTES:
            raise _HeadTooLarge
        headers = dict(self.headers)
        if b"expect" in headers and self.parser.get_http_version() != "1.0":  # which knows no interim answers
            self.expect_100_continue = any(
                name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers
            )
        one = self._hot(headers)
        if one is None:
            self._give_to_asgi()
            return
        assert self._ingest is not None
        direct = Direct(
            self._ingest,
            one,
            self.transport,
            self.server_state.default_headers,
            self.on_response_complete,
            keep_alive=self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0",
        )
        self.cycle = cast("RequestResponseCycle", direct)  # it has what uvicorn asks of one
        if direct.admit():
            self._direct = direct

    def _size_of_head(self) -> int:
        """As it came in one read, with the body behind it; what is between names and values does not count."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _hot(self, headers: dict[bytes, bytes]) -> Asked | None:
        """The request, where it can be answered without ASGI."""
        route = TARGETS.get(self.url)
        if route is None or self._ingest is None or self.expect_100_continue or self.flow.write_paused:
            return None
        cycle = cast("RequestResponseCycle | None", self.cycle)
        busy = cycle is not None and not cycle.response_complete
        if busy or self.transport.is_closing() or self.root_path:
            return None
        if self.parser.get_method() != b"POST" or self.parser.should_upgrade():
            return None
        if b"content-length" not in headers or b"transfer-encoding" in headers:
            return None
        return Asked(route, b"", self.client, self.headers, headers)

    def _give_to_asgi(self) -> None:
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)  # the list that the scope holds
        super().on_headers_complete()
        self.cycle.__class__ = Cycle  # its task has not begun; uvicorn has no other way to choose the class

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._head_bytes = 0
        if self._direct is not None:
            self._direct.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete, unless its upgrade is about to be declined."""
        self._head_bytes = 0
        direct, self._direct = self._direct, None
        if direct is not None:
            self._in_message = False
            direct.complete()
            return
        if self.parser.should_upgrade():
            return
        self._in_message = False
        super().on_message_complete()

    def _unset_keepalive_if_required(self) -> None:
        """One timer serves all the requests of a connection: it looks at `_idle_since` when it rings."""

    def on_response_complete(self) -> None:
        """An answer is written: the next request of a pipeline begins, or the connection is idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._keep_alive()

    def _is_idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return not self._in_message and cycle is not None and cycle.response_complete

    def _keep_alive(self) -> None:
        """The connection is idle from now on."""
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_later(self.timeout_keep_alive)

    def _look_later(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough."""
        self.timeout_keep_alive_task = None
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if self.transport.is_closing() or not self._is_idle():
            return  # the answer under way starts the timer again
        if left > 0:
            self._look_later(left)
        else:
            self.transport.close()

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
        lines = [STATUS_LINES[reply.status]]
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
