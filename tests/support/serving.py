"""A collector behind real sockets on loopback, over the log in memory, in the test's own loop."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from collector.app import build, uvicorn_options
from collector.asgi import Collector
from headwater import accepted, event
from headwater.clock import Clock, SystemClock
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Log, TopicPartition
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace

SOURCES = {
    "web": {"kind": "browser", "write_keys": ["wk_web"]},
    "api": {"kind": "server", "write_keys": ["wk_api", "wk_next"]},
    "phone": {"kind": "mobile", "write_keys": ["wk_phone"]},
    "off": {"kind": "server", "write_keys": ["wk_off"], "enabled": False},
}


def workspace(**sections: Any) -> Workspace:
    """A workspace with four sources and the sections given."""
    return Workspace.model_validate({"workspace": "acme", "sources": SOURCES, **sections})


def basic(key: str) -> dict[str, str]:
    """The Authorization header of a write key."""
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


@dataclass
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One answer from a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split()[1]), headers, body)


def raw_request(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """The bytes of a request with a Content-Length."""
    lines = {"Host": "collect.test", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@dataclass
class Served:
    """A running collector, and a client of it."""

    app: Collector
    log: MemoryLog
    live: LiveWorkspace
    port: int
    server: uvicorn.Server
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection, closed with the fixture."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        self.writers.append(writer)
        return reader, writer

    async def raw(self, data: bytes) -> Answer:
        """Send bytes on a connection of their own and read one answer."""
        reader, writer = await self.connect()
        writer.write(data)
        answer = await asyncio.wait_for(read_answer(reader), 10)
        writer.close()
        return answer

    async def request(
        self, method: str, path: str, body: bytes | object = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """One request; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.raw(raw_request(method, path, data, headers))

    async def post(self, path: str, body: bytes | object, key: str = "wk_api", **headers: str) -> Answer:
        """A POST with a write key in its Authorization header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.request("POST", path, body, {**basic(key), **named})

    async def events(self) -> list[event.Accepted]:
        """Everything the log has accepted, in order."""
        found: list[event.Accepted] = []
        for number in range(self.log.partitions(topics.ACCEPTED)):
            batch = await self.log.read(TopicPartition(topics.ACCEPTED, number), 0, max_bytes=1 << 30)
            for record in batch.records:
                some = list(accepted.read_whole(record.value))
                assert len(some) == record.events
                found.extend(one for one in some if isinstance(one, event.Accepted))
        return found


@asynccontextmanager
async def serve(
    folder: Path,
    settings: Workspace | None = None,
    clock: Clock | None = None,
    partitions: int = 1,
    through: Callable[[MemoryLog], Log] = lambda log: log,
) -> AsyncIterator[Served]:
    """Run a collector; `through` is how it sees the log."""
    live = LiveWorkspace(settings or workspace(limits={"disk_free_bytes": 0}))
    data = DataDir(folder).make()
    log = MemoryLog(partitions=partitions)
    async with through(log) as seen:
        app = build(live, seen, clock or SystemClock(), data)
        await app.start()
        # Named TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms for an ACK (uvloop never does).
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, **{**uvicorn_options(), "loop": "asyncio"})
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listening])
        served = Served(app, log, live, listening.getsockname()[1], server)
        try:
            yield served
        finally:
            for writer in served.writers:
                writer.close()
            for one in server.servers:
                one.close()
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            log.faults.release()
            await asyncio.gather(*server.server_state.tasks, return_exceptions=True)
            await app.drain()
            listening.close()
            await asyncio.sleep(0)
