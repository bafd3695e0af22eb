"""The collector against its floor: `python -m bench.collector [--seconds 2.5] [--rounds 3] [--json FILE]`.

The floor probe is the least that a durable collector in one Python process can do: a bare ASGI callable on stock uvicorn,
one typed decode of every event, one append to the same durable log (the SQLite log: packed, compressed, synced), shared by
the requests that wait, and `200`. What it writes is what the log holds, a line for each event, so it has to find where the
events of a batch begin and end; but the lines are the client's bytes: it knows no write key and no limit, judges no event,
stamps no time, makes no header. Its little brother `file` writes the lines to a plain file with a shared fdatasync instead
of the log; it stands in the table for comparison.

All servers run all the time and are loaded in turns, so that whatever else the machine does meets all alike. Every event
that is in flight at a time is another one (ids, time, a random text), or the log would compress what real events do not let
it. CPU is the server process's own, user and system, all threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
import uvicorn
import uvloop

from bench.load import EVENT
from collector.app import build, uvicorn_options
from collector.replies import SUCCESS
from headwater.clock import SystemClock
from headwater.log import topics
from headwater.log.open import open_log
from headwater.log.protocol import Entry, Log, Record
from headwater.paths import DataDir
from headwater.timestamps import iso
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace

WORKSPACE = {"workspace": "bench", "sources": {"web": {"kind": "browser", "write_keys": ["wk_web"]}}}
LOADS = {"single": (64, 1), "batch": (16, 100)}
TARGETS = ("file", "probe", "collector")
BEGIN_MS = 1_767_225_600_000
END = b'{"success":true}'


class _Message(msgspec.Struct, rename="camel"):
    message_id: str
    anonymous_id: str | None = None
    user_id: str | None = None
    type: str | None = None
    event: str | None = None
    timestamp: str | None = None
    sent_at: str | None = None
    write_key: str | None = None
    properties: msgspec.Raw = msgspec.Raw(b"{}")
    context: msgspec.Raw = msgspec.Raw(b"{}")
    integrations: msgspec.Raw = msgspec.Raw(b"{}")


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    write_key: str | None = None
    sent_at: str | None = None


class Probe:
    """The floor; `append` makes bodies durable."""

    def __init__(self, append: Callable[[list[bytes]], Awaitable[None]]) -> None:
        self._append = append
        self._message, self._batch = (
            msgspec.json.Decoder(_Message).decode,
            msgspec.json.Decoder(_Batch).decode,
        )
        self._waiting: list[bytes] = []
        self._answer: asyncio.Future[None] | None = None
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            answer, self._answer = self._answer, None
            await self._append(waiting)
            if answer is not None:
                answer.set_result(None)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        body = (message := await receive())["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        events: list[Any] = self._batch(body).batch if scope["path"] == "/v1/batch" else [body]
        for event in events:
            self._message(event)
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            self._wake.set()
        self._waiting.append(b"\n".join(events))
        await self._answer
        await send({"type": "http.response.start", "status": 200, "headers": SUCCESS.headers})
        await send({"type": "http.response.body", "body": SUCCESS.body})


def to_log(log: Log) -> Callable[[list[bytes]], Awaitable[None]]:
    """Bodies as records of the durable log."""

    async def append(bodies: list[bytes]) -> None:
        await log.append([Entry(topics.ACCEPTED, 0, Record(body)) for body in bodies])

    return append


def to_file(path: Path) -> Callable[[list[bytes]], Awaitable[None]]:
    """Bodies as lines of a plain file, synced."""
    file = path.open("ab", buffering=0)

    def sync(data: bytes) -> None:
        file.write(data)
        os.fdatasync(file.fileno())

    async def append(bodies: list[bytes]) -> None:
        await asyncio.get_running_loop().run_in_executor(None, sync, b"\n".join(bodies))

    return append


async def serve(target: str, folder: Path, listening: socket.socket) -> None:
    """Run one server until it is killed."""
    options, stock = uvicorn_options(), {**uvicorn_options(), "http": "httptools"}
    if target == "file":
        app = Probe(to_file(folder / "probe.log"))
        await uvicorn.Server(uvicorn.Config(app, **stock)).serve([listening])
        return
    data, clock = DataDir(folder / target).make(), SystemClock()
    live = LiveWorkspace(Workspace.model_validate(WORKSPACE))
    async with open_log(live.current.log, data, "collector", clock) as log:
        if target == "probe":
            await uvicorn.Server(uvicorn.Config(Probe(to_log(log)), **stock)).serve([listening])
            return
        collector = build(live, log, clock, data)
        await collector.start()
        await uvicorn.Server(uvicorn.Config(collector, **options)).serve([listening])


def request(batch: int, seed: int = 0) -> bytes:
    """One whole request; a connection sends its own again and again, as the collector does not look at ids twice."""
    rng = random.Random(seed)
    events = [
        EVENT
        % (
            b"ajs-next-1750000000000-%032x" % rng.getrandbits(128),
            b"visitor-%d" % rng.randrange(10_000),
            iso(BEGIN_MS + rng.randrange(50_000)).encode(),
            rng.randbytes(110).hex().encode(),
        )
        for _ in range(batch)
    ]
    sent = iso(BEGIN_MS + 60_000).encode()
    if batch == 1:
        path, body = b"/v1/t", events[0][:-1] + b',"writeKey":"wk_web","sentAt":"%b"}' % sent
    else:
        path = b"/v1/batch"
        body = b'{"batch":[%b],"writeKey":"wk_web","sentAt":"%b"}' % (b",".join(events), sent)
    head = (
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nUser-Agent: bench/1\r\n"
        % path
    )
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class _Client(asyncio.Protocol):
    """One keep-alive connection with one request in flight."""

    def __init__(self, data: bytes, deadline: float) -> None:
        self.data, self.deadline, self.answered = data, deadline, 0
        self.ended = asyncio.get_running_loop().create_future()
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = transport
        transport.write(self.data)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Count an answer and send the next request, until the time is over."""
        self._seen += data
        if not self._seen.endswith(END):
            return
        assert self._seen.startswith(b"HTTP/1.1 200"), self._seen
        self._seen = b""
        self.answered += 1
        if time.perf_counter() < self.deadline:
            self.transport.write(self.data)  # type: ignore[attr-defined]
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Say that this client has ended."""
        if not self.ended.done():
            self.ended.set_result(None)


async def generate(port: int, connections: int, batch: int, seconds: float) -> dict[str, float]:
    """Load a server; events answered and seconds taken."""
    loop = asyncio.get_running_loop()
    requests = [request(batch, seed) for seed in range(connections)]
    begin = time.perf_counter()
    clients = [
        (await loop.create_connection(partial(_Client, data, begin + seconds), "127.0.0.1", port))[1]
        for data in requests
    ]
    await asyncio.gather(*(client.ended for client in clients))
    return {
        "events": batch * sum(client.answered for client in clients),
        "seconds": time.perf_counter() - begin,
    }


def _spawn(*arguments: str, **rest: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bench.collector", *arguments], **rest)


def start(target: str, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A server process and its port; it listens before it is started, so nobody waits for it."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port: int = listening.getsockname()[1]
    process = _spawn("serve", target, str(folder), str(listening.fileno()), pass_fds=[listening.fileno()])
    listening.close()
    return process, port


def measure(process: psutil.Process, port: int, load: str, seconds: float) -> dict[str, float]:
    """One turn: events a second, and microseconds of server CPU an event."""
    connections, batch = LOADS[load]
    before = sum(process.cpu_times()[:2])
    with _spawn(
        "load", str(port), str(connections), str(batch), str(seconds), stdout=subprocess.PIPE
    ) as client:
        out, _ = client.communicate(timeout=60)
    found = json.loads(out)
    cpu = sum(process.cpu_times()[:2]) - before
    return {
        "rate": found["events"] / found["seconds"],
        "cpu_us": 1e6 * cpu / found["events"],
        "rss_mb": process.memory_info().rss / 1e6,
    }


def bench(seconds: float = 2.5, rounds: int = 3) -> dict[str, Any]:
    """All turns; medians and spread of each load and target, and the ratios of docs/performance.md."""
    turns: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        servers = {target: start(target, Path(folder)) for target in TARGETS}
        try:
            for load in LOADS:
                for number in range(rounds + 1):
                    for target in TARGETS if number % 2 else reversed(TARGETS):
                        process, port = servers[target]
                        turn = measure(psutil.Process(process.pid), port, load, seconds if number else 1.0)
                        if number:  # the first one warms up
                            turns.setdefault((load, target), []).append(turn)
        finally:
            for process, _ in servers.values():
                process.kill()
                process.wait()
    return {load: _summary(turns, load) for load in LOADS}


def _summary(turns: dict[tuple[str, str], list[dict[str, float]]], load: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for target in TARGETS:
        mine = turns[load, target]
        found[target] = {
            name: {
                "median": round(statistics.median(turn[name] for turn in mine), 2),
                "min": round(min(turn[name] for turn in mine), 2),
                "max": round(max(turn[name] for turn in mine), 2),
            }
            for name in mine[0]
        }
    for name in ("rate", "cpu_us"):
        found[f"{name}_ratio"] = round(found["collector"][name]["median"] / found["probe"][name]["median"], 3)
    return found


def table(results: dict[str, Any]) -> str:
    """The results for people."""
    lines = [f"{'load':8}{'server':11}{'events/s':>12}{'CPU us/event':>14}{'RSS MB':>9}"]
    for load, found in results.items():
        for target in TARGETS:
            row = {name: value["median"] for name, value in found[target].items()}
            lines.append(f"{load:8}{target:11}{row['rate']:12,.0f}{row['cpu_us']:14.2f}{row['rss_mb']:9.0f}")
        lines.append(f"{load:8}{'ratio':11}{found['rate_ratio']:12.2f}{found['cpu_us_ratio']:14.2f}")
    return "\n".join(lines)


def main() -> None:
    """Bench, or one of the processes it starts."""
    if sys.argv[1:2] == ["serve"]:
        target, folder, number = sys.argv[2:]
        uvloop.run(serve(target, Path(folder), socket.socket(fileno=int(number))))
        return
    if sys.argv[1:2] == ["load"]:
        port, connections, batch, seconds = sys.argv[2:]
        print(json.dumps(uvloop.run(generate(int(port), int(connections), int(batch), float(seconds)))))
        return
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=2.5)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    results = bench(chosen.seconds, chosen.rounds)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
