"""A real HTTP server on loopback that misbehaves as told, and keeps what it was sent."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Optional, Union

Answer = Union[int, str, Callable[["Handler"], None]]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Loopback  # type: ignore[assignment]

    def do_POST(self) -> None:
        """Keep the request, answer as the script says."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        answer = self.server.keep(self, json.loads(body))
        if callable(answer):
            answer(self)
        elif answer == "reset":
            reset(self)
        elif answer == "silent":
            self.server.released.wait(20)
            self.close_connection = True
        elif answer == "close":  # a 200, after which the server closes the kept connection without saying so
            self.answer(200)
            self.close_connection = True
        else:
            self.answer(int(answer))

    def answer(
        self, status: int, body: bytes = b'{"success":true}', headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def reset(handler: Handler) -> None:
    """Break the connection with a TCP reset."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


class Loopback(ThreadingHTTPServer):
    """Answers with `script`, one entry a request, then 200."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *script: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.released = threading.Event()
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.connections: set[Any] = set()
        self._script = list(script)
        self._changed = threading.Condition()

    def keep(self, handler: Handler, body: dict[str, Any]) -> Answer:
        """Note a request and return its answer."""
        with self._changed:
            self.requests.append((dict(handler.headers.items()), body))
            self.connections.add(handler.client_address)
            self._changed.notify_all()
            return self._script.pop(0) if self._script else 200

    def wait_for(self, requests: int, timeout: float = 20) -> None:
        """Wait until so many requests came."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= requests, timeout), self.requests

    @property
    def events(self) -> list[str]:
        """The names of the events that came, in order, repetitions included."""
        return [event.get("event", event["type"]) for _, body in self.requests for event in body["batch"]]

    @property
    def ids(self) -> list[str]:
        """The message ids that came, in order, repetitions included."""
        return [event["messageId"] for _, body in self.requests for event in body["batch"]]

    def handle_error(self, *_: Any) -> None:
        """A client that went away is part of the tests."""


@contextmanager
def serving(*script: Answer, tls: Optional[str] = None) -> Iterator[Loopback]:
    """Run a server for a `with` block; `tls` is a file with certificate and key."""
    server = Loopback(*script)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.url = server.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
