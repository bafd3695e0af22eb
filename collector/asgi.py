"""The application: hot routes by one dict lookup, everything else through FastAPI; CORS and timing around both.

What SDKs post to never sees a router, a request object or a response class; FastAPI declares the same routes for
OpenAPI (`collector.routes.ingest`), and a test keeps the two equal.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from collector.ingest import Disconnected, Ingest, Receive, Scope, asked
from collector.replies import Cors, Headers, Reply, refusal, success
from collector.routes.table import DISCARD, INGEST, ONLY_HEAD, Route, with_slash
from headwater import memory
from headwater.workspace.live import LiveWorkspace

logger = logging.getLogger(__name__)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOT: dict[str, Route] = {form: route for route in INGEST for form in with_slash(route.path)}
_SLASHES = re.compile("//+")
_DISCARD = frozenset(form for path in DISCARD for form in with_slash(path))


class Collector:
    """An ASGI application without lifespan: `start` once the log is open, `drain` before it closes."""

    def __init__(self, ingest: Ingest, web: App) -> None:
        self._ingest, self._web = ingest, web
        self.ingest = ingest  # collector.protocol hands hot requests to it
        self.live: LiveWorkspace = ingest.live  # collector.protocol finds the workspace here

    async def start(self) -> None:
        """Get ready to take events."""
        self._ingest.start()
        memory.tune_collector_of_garbage()
        memory.keep_heap()

    async def drain(self) -> None:
        """Refuse new events with 503, wait for those inside until they are durable."""
        await self._ingest.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the collector speaks HTTP only, not {scope['type']}")
        clock = self._ingest.clock
        begin = clock.monotonic()
        cors = self._ingest.view.cors
        origin = _header(scope, b"origin")
        path = scope["path"]
        if "//" in path:  # of a host that was configured with a slash at its end
            path = _SLASHES.sub("/", path)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        route = HOT.get(path)
        if route is not None and scope["method"] == "POST":
            try:
                reply = await self._ingest.post(asked(route, scope), receive)
            except Disconnected:
                return
            except (
                Exception
            ):  # the supervisor of one request: whatever breaks, the client is told to come again
                logger.exception("a request to %s failed", route.path)
                reply = refusal("internal_error", retry_after=1)
            await _send(send, reply, cors, origin)
            label = route.path
        elif scope["method"] == "OPTIONS":
            reply = cors.preflight(_header(scope, b"access-control-request-headers"))
            await _send(send, reply, cors, origin)
            label = "preflight"
        elif path in _DISCARD and scope["method"] == "POST":
            reply = success(())
            await _send(send, reply, cors, origin)
            label = path.rstrip("/")
        else:
            await self._elsewhere(scope, receive, send, begin, origin)
            return
        self._ingest.tally.inflight_bytes = self._ingest.gate.bytes
        self._ingest.tally.request(label, reply.status, clock.monotonic() - begin)

    async def _elsewhere(
        self, scope: Scope, receive: Receive, send: Send, begin: float, origin: bytes | None
    ) -> None:
        """FastAPI's routes: paths lose their trailing slash, HEAD is a GET, answers get their CORS headers."""
        path = scope["path"]
        if len(path) > 1 and path.endswith("/"):
            scope = {**scope, "path": path[:-1], "raw_path": path[:-1].encode()}
        if scope["method"] == "HEAD":  # the server leaves the body out by itself
            scope = {**scope, "method": "GET", ONLY_HEAD: True}
        status = 500
        cors = self._ingest.view.cors.headers(origin)

        async def send_with_cors(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with(cors, message.get("headers", ()))}
            await send(message)

        await self._web(scope, receive, send_with_cors)
        # The matched template, never the path: paths hold write keys.
        matched = scope.get("route")
        label = getattr(matched, "path", "other")
        self._ingest.tally.request(label, status, self._ingest.clock.monotonic() - begin)


def _with(cors: Headers, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers with those of CORS, unless a route has its own: files that are for everyone say so themselves."""
    own = list(headers)
    return own if any(name == b"access-control-allow-origin" for name, _ in own) else [*own, *cors]


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return None


async def _send(send: Send, reply: Reply, cors: Cors, origin: bytes | None) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [*reply.headers, *cors.headers(origin)],
        }
    )
    await send({"type": "http.response.body", "body": reply.body})
