"""`headwater send` against a collector that drops connections, and with files that break off."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from headwater.cli.app import app
from headwater.errors import ConfigError
from headwater.run import client


class _Collector(ThreadingHTTPServer):
    """Ends the first `drops` connections without an answer, then takes everything."""

    daemon_threads = True

    def __init__(self, drops: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.drops, self.taken, self.connections = drops, list[str](), 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: _Collector

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.connections += 1
        if self.server.connections <= self.server.drops:
            return
        self.server.taken += [event["messageId"] for event in body["batch"]]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"success":true}')

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def collector(drops: int = 0) -> Iterator[_Collector]:
    """A collector on a free port."""
    server = _Collector(drops)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(server: _Collector, file: Path, *more: str) -> Result:
    """`headwater send FILE`, in this process."""
    return CliRunner().invoke(app, ["send", str(file), "--url", server.url, "--write-key", "k", *more])


def lines(number: int) -> str:
    """A file of so many events."""
    return "".join(
        json.dumps({"type": "track", "event": "E", "userId": "u", "messageId": f"m-{index}"}) + "\n"
        for index in range(number)
    )


def test_a_dropped_connection_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that is killed in the middle of a file costs nothing: the same batch goes again."""
    monkeypatch.setattr(client, "DROPPED_PAUSE_S", 0.01)
    file = tmp_path / "events.ndjson"
    file.write_text(lines(250))
    with collector(drops=2) as server:
        done = send(server, file)
    assert done.exit_code == 0, done.stderr
    assert server.taken == [f"m-{index}" for index in range(250)] == done.stdout.split()
    assert server.connections == 3 + 2


def test_connections_that_are_always_dropped_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts are bounded, and nothing is told as sent."""
    monkeypatch.setattr(client, "DROPPED_PAUSE_S", 0.01)
    file = tmp_path / "events.ndjson"
    file.write_text(lines(1))
    with collector(drops=1_000) as server:
        done = send(server, file)
    assert isinstance(done.exception, client.Unreachable)
    assert done.stdout == ""
    assert server.connections == client.ATTEMPTS


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    """What a shell makes of `headwater send <(zcat events.gz)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_text, args=(lines(3),))
    writing.start()
    with collector() as server:
        done = send(server, pipe)
    writing.join()
    assert (done.exit_code, server.taken) == (0, ["m-0", "m-1", "m-2"])


@pytest.mark.parametrize(("broken", "why"), [("not json", "not JSON"), ("[1]", "an event is an object")])
def test_what_comes_before_a_broken_line_is_sent(tmp_path: Path, broken: str, why: str) -> None:
    """The message says that nothing from that line on was sent; so everything before it must have been."""
    file = tmp_path / "events.ndjson"
    file.write_text(lines(103) + broken + "\n" + lines(1))
    with collector() as server:
        done = send(server, file)
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith(f"{file}:104: {why}")
    assert server.taken == [f"m-{index}" for index in range(103)] == done.stdout.split()
