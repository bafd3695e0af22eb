"""A collector on loopback that takes everything, from any origin, and keeps the events for a test to look at.

It serves the browser SDK at `/sdk/v1/`, and `page` at every other address.
"""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BROWSER = Path(__file__).parents[2] / "collector" / "browser"
VERSION = (Path(__file__).parents[2] / "sdk" / "VERSION").read_text().strip()
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Allow-Methods": "POST",
}


@dataclass
class Recording:
    """What was sent: the events of all requests, each with `writeKey`, and the requests' headers and paths."""

    url: str = ""
    page: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, enough: Callable[[list[dict[str, Any]]], object], seconds: float = 20) -> None:
        """Wait until the events are what the test wants; AssertionError with what came instead."""
        with self.changed:
            assert self.changed.wait_for(lambda: enough(self.events), seconds), self.events

    def clear(self) -> None:
        """Forget what was sent."""
        with self.changed:
            self.events.clear()
            self.requests.clear()

    def keep(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        """Note a request."""
        with self.changed:
            self.requests.append((path, headers))
            self.events.extend({"writeKey": body.get("writeKey"), **event} for event in body["batch"])
            self.changed.notify_all()


@contextmanager
def recording() -> Iterator[Recording]:
    """A collector that is there until the block ends."""
    found = Recording()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_OPTIONS(self) -> None:
            self._answer(b"")

        def do_GET(self) -> None:
            folder, _, name = self.path.rpartition("/")
            script = folder == "/sdk/v1"
            body = (BROWSER / VERSION / name).read_bytes() if script else found.page.encode()
            self._answer(body, "text/javascript" if script else "text/html; charset=utf-8")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            found.keep(self.path, dict(self.headers.items()), json.loads(body))
            self._answer(b'{"success":true}')

        def _answer(self, body: bytes, kind: str = "application/json") -> None:
            self.send_response(200)
            headers = {**CORS, "Content-Type": kind, "Content-Length": str(len(body))}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
