"""For FastAPI, Starlette and every other ASGI application.

    app.add_middleware(HeadwaterMiddleware, client=client, exclude=["/health"])

Websockets, lifespan and streamed answers pass through untouched. A client in `sync_mode` would hold up the event loop;
use a `Client` with its thread, or an `AsyncClient`.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, MutableMapping, Optional
from urllib.parse import quote

from headwater_sdk.middleware._page import Request
from headwater_sdk.middleware._visit import Nobody, Options, Visit, begin

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class HeadwaterMiddleware:
    """Sends page views and binds the visitor to the calls made within a request; `options` are those of `Options`."""

    def __init__(self, app: App, client: Any = None, **options: Any) -> None:
        """Without a client the module's default one is used."""
        self.app = app
        self.client = client
        self.options = Options.of(options)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = begin(self.client, lambda: _request(scope), self.options, scope)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = _answered(visit, message)
            await send(message)
            if message["type"] in ("http.response.body", "http.response.pathsend"):
                visit.seen(message.get("body", b""))

        with visit.bound():
            await self.app(scope, receive, watched)


def _request(scope: Message) -> Request:
    header = _reader(scope["headers"])
    raw = scope.get("raw_path")
    return Request(
        method=scope["method"],
        scheme=scope.get("scheme", "http"),
        host=header("host") or _server(scope.get("server")),
        path=raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"]),
        query=scope.get("query_string", b"").decode("latin-1"),
        header=header,
        ip=scope["client"][0] if scope.get("client") else None,
    )


def _server(server: Any) -> str:
    return str(server[0]) if server else "localhost"


def _reader(headers: Any) -> Callable[[str], Optional[str]]:
    def header(name: str) -> Optional[str]:
        wanted = name.encode("latin-1")
        values = [value.decode("latin-1") for key, value in headers if key.lower() == wanted]
        return ("; " if name == "cookie" else ", ").join(values) if values else None

    return header


def _answered(visit: Visit | Nobody, message: Message) -> Message:
    header = _reader(message.get("headers", ()))
    cookie = visit.answer(message["status"], lambda name: header(name) or "")
    if cookie is None:
        return message
    return {
        **message,
        "headers": [*message.get("headers", ()), (b"set-cookie", cookie.header().encode("latin-1"))],
    }
