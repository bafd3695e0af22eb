"""For Flask and every other WSGI application.

    app.wsgi_app = HeadwaterMiddleware(app.wsgi_app, client=client, exclude=["/health"])

The visitor is bound while the application runs and while its answer is read, streamed ones included; a file that the
server sends by itself (`wsgi.file_wrapper`) passes through untouched.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, Optional
from urllib.parse import quote

from headwater_sdk.middleware._page import Request
from headwater_sdk.middleware._visit import Nobody, Options, Visit, begin

Environ = dict[str, Any]
Headers = list[tuple[str, str]]


class HeadwaterMiddleware:
    """Sends page views and binds the visitor to the calls made within a request; `options` are those of `Options`."""

    def __init__(self, app: Callable[..., Iterable[bytes]], client: Any = None, **options: Any) -> None:
        """Without a client the module's default one is used."""
        self.app = app
        self.client = client
        self.options = Options.of(options)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        visit = begin(self.client, lambda: request_of(environ), self.options, environ)

        def watched(status: str, headers: Headers, *rest: Any) -> Any:
            return start_response(status, _answered(visit, status, headers), *rest)

        with visit.bound():
            body = self.app(environ, watched)
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper):
            visit.seen()
            return body
        return _Body(body, visit)


def request_of(environ: Environ, scheme: Optional[str] = None) -> Request:
    """Read a request from a WSGI environ, or Django's META."""
    path = (
        quote((environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1", "replace"))
        or "/"
    )
    return Request(
        method=environ["REQUEST_METHOD"],
        scheme=scheme or environ.get("wsgi.url_scheme", "http"),
        host=environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "localhost"),
        path=path,
        query=environ.get("QUERY_STRING", ""),
        header=lambda name: environ.get("HTTP_" + name.upper().replace("-", "_")),
        ip=environ.get("REMOTE_ADDR") or None,
    )


def _answered(visit: Visit | Nobody, status: str, headers: Headers) -> Headers:
    def header(name: str) -> str:
        return ", ".join(value for key, value in headers if key.lower() == name)

    code = status[:3]
    cookie = visit.answer(
        int(code) if code.isdigit() else 0, header
    )  # the server will say what it thinks of others
    return [*headers, ("Set-Cookie", cookie.header())] if cookie else headers


class _Body:
    """The application's answer as it is; its first part tells that the page was sent."""

    def __init__(self, body: Iterable[bytes], visit: Visit | Nobody) -> None:
        self._body = body
        self._parts: Optional[Iterator[bytes]] = None
        self._visit = visit

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._visit.bound():
            if self._parts is None:
                self._parts = iter(self._body)
            part = next(self._parts, None)
        self._visit.seen(part or b"")
        if part is None:  # also an answer without a body, such as a 304, showed a page
            raise StopIteration
        return part

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type] # servers ask, and take the TypeError for a no

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._visit.bound():
                close()
