"""A collector on loopback that takes everything, from any origin, and keeps the events for a test to look at."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Allow-Methods": "POST",
}


@dataclass
class Recording:
    """What was sent: the events of all requests, each with `writeKey`, and the requests' headers and paths."""

    url: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, enough: Callable[[list[dict[str, Any]]], object], seconds: float = 20) -> None:
        """Wait until the events are what the test wants; AssertionError with what came instead."""
        with self.changed:
            assert self.changed.wait_for(lambda: enough(self.events), seconds), self.events

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

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.keep(self.path, dict(self.headers.items()), json.loads(body))
            self._answer(b'{"success":true}')

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            for name, value in {**CORS, "Content-Length": str(len(body))}.items():
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
