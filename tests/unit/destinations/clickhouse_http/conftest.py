"""The interface over a real engine, served from a thread of its own as the destinations process would."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from destinations.clickhouse.http import Server, serve
from destinations.clickhouse.readonly import Limits

LIMITS = Limits(
    concurrent=2, waiting=1, wait_s=0.5, memory=200 << 20, seconds=20, rows=3_000_000, buffered_bytes=16 << 20
)


@dataclass
class Running:
    """An interface that runs: its engine's writing connection, a plain HTTP client, its address."""

    server: Server
    writer: Any
    http: httpx2.Client
    folder: Path
    loop: asyncio.AbstractEventLoop
    names: list[str] = field(default_factory=list)

    def get(self, sql: str, **query: Any) -> httpx2.Response:
        """A query over GET."""
        return self.http.get("/", params={"query": sql, **query})

    def post(self, sql: str | bytes, headers: dict[str, str] | None = None, **query: Any) -> httpx2.Response:
        """A query over POST."""
        return self.http.post("/", content=sql, params=query, headers=headers)


@contextlib.contextmanager
def running(folder: Path, limits: Limits = LIMITS, **options: Any) -> Iterator[Running]:
    """Engine, interface and client; everything is closed at the end, so that another folder may be opened."""
    import chdb

    writer = chdb.connect(str(folder))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server: Server | None = None
    try:
        writer.query("CREATE DATABASE IF NOT EXISTS headwater")
        server = asyncio.run_coroutine_threadsafe(_started(folder, limits, options), loop).result(30)
        with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
            yield Running(server, writer, client, folder, loop)
    finally:
        if server is not None:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
        writer.close()


async def _started(folder: Path, limits: Limits, options: dict[str, Any]) -> Server:
    server = serve(folder, port=0, limits=limits, **options)
    await server.start()
    return server


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One engine with a table of 100 000 rows for the whole module (a process has one engine at a time)."""
    with running(tmp_path_factory.mktemp("engine")) as one:
        one.writer.query(
            "CREATE TABLE headwater.events (id UInt64, name String, file String) ENGINE = MergeTree ORDER BY id"
        )
        one.writer.query(
            "INSERT INTO headwater.events SELECT number, concat('n', toString(number)), 'f' FROM numbers(100000)"
        )
        yield one
