"""A loopback TCP proxy in front of the collector that answers 503, resets or stalls when told to."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Literal, Self

Fault = Literal["503", "reset", "pass"]
ANSWER_503 = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b'content-length: 44\r\nconnection: close\r\n\r\n{"code":"unavailable","message":"try again"}'
)


class FaultyProxy:
    """Each new connection takes the next fault of the script; when the script is over, connections pass."""

    def __init__(self, target_port: int, script: list[Fault]) -> None:
        self.target_port = target_port
        self.script: deque[Fault] = deque(script)
        self.met: list[Fault] = []
        self.port = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._stop.wait()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve_one(reader, writer))
        self._connections.add(task)
        await asyncio.wait([task])
        self._connections.discard(task)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault: Fault = self.script.popleft() if self.script else "pass"
        self.met.append(fault)
        try:
            if fault == "503":
                await reader.read(65_536)
                writer.write(ANSWER_503)
                await writer.drain()
            elif fault == "pass":
                await self._forward(reader, writer)
            else:
                await reader.read(1)
                writer.transport.abort()
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        try:
            await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
        finally:
            upstream_writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
