"""A collector on loopback whose answers are the test's: it serves the built browser SDK and remembers what it was sent."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

BUILT = Path(__file__).parents[2] / "collector" / "browser"
VERSION = (Path(__file__).parents[2] / "sdk" / "VERSION").read_text().strip()


@dataclass
class Answer:
    """A status with headers; `after` is waited for first (a silent server until the event is set)."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: threading.Event | None = None


@dataclass
class ScriptedCollector:
    """`answer` is asked for each request with its number (1, 2, ...); `batches` are the messages of each request so far."""

    url: str
    answer: Callable[[int], Answer] = lambda _: Answer()
    batches: list[list[dict[str, Any]]] = field(default_factory=list)
    sent_at: list[datetime] = field(default_factory=list)

    def messages(self) -> list[dict[str, Any]]:
        """All messages, in the order in which they came."""
        return [message for batch in self.batches for message in batch]

    def events(self) -> list[str]:
        """The names of all track events, in the order in which they came."""
        return [message["event"] for message in self.messages() if message["type"] == "track"]

    def tag(self, script: str = "headwater.js") -> str:
        """A script tag that loads the SDK and points it here."""
        return f'<script src="{self.url}/{script}" data-write-key="wk"></script>'


@contextmanager
def scripted_collector() -> Iterator[ScriptedCollector]:
    """A collector that is there until the block ends."""
    found = ScriptedCollector("")
    lock = threading.Lock()
    open_ends: list[threading.Event] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(
                200,
                (BUILT / VERSION / Path(self.path).name).read_bytes(),
                {"Content-Type": "text/javascript"},
            )

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                found.batches.append(body["batch"])
                found.sent_at.append(datetime.fromisoformat(body["sentAt"]))
                answer = found.answer(len(found.batches))
            if answer.after is not None:
                open_ends.append(answer.after)
                answer.after.wait(60)
            self.reply(answer.status, b'{"success":true}', answer.headers)

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            shared = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "retry-after"}
            try:
                self.send_response(status)
                for name, value in {**shared, **headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the page went away, which is what many tests are about

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        for event in open_ends:
            event.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
