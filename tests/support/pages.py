"""A web site on loopback whose pages are texts of the test."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TYPES = {"js": "text/javascript; charset=utf-8", "html": "text/html; charset=utf-8"}


@dataclass
class Site:
    """Pages by path, `/` included; a path that is not there answers with an empty page."""

    url: str
    pages: dict[str, str] = field(default_factory=dict)

    def put(self, path: str, body: str, head: str = "") -> str:
        """Publish a page; its address."""
        self.pages[path] = (
            f"<!doctype html><html><head><title>{path}</title><link rel='icon' href='data:,'>{head}</head>"
            f"<body>{body}</body></html>"
        )
        return self.url + path


@contextmanager
def site() -> Iterator[Site]:
    """A site that is there until the block ends."""
    found = Site("")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = found.pages.get(path, "<!doctype html><title>elsewhere</title>").encode()
            self.send_response(200)
            self.send_header("Content-Type", TYPES["js" if path.endswith(".js") else "html"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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
        server.shutdown()
        server.server_close()
        thread.join(5)
