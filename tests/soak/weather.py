"""A loopback HTTP proxy between SDKs and the collector that knows requests, and draws for each what happens to it.

It resets before and after the collector has the request, answers in its place, stays silent, keeps an answer back, breaks
one off in the middle. What it forwards it does not alter.

    with Weather(collector_port, seed=1) as weather:
        ... send to weather.url ...
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal, Self

Fault = Literal[
    "pass",
    "reset",
    "503",
    "503 later",
    "429",
    "500",
    "silence",
    "slow",
    "answer lost",
    "answer broken off",
    "answer never",
]
# What happens to a request, and how often. The last three happen after the collector has taken it.
ODDS: dict[Fault, int] = {
    "pass": 62,
    "slow": 6,
    "reset": 5,
    "503": 4,
    "503 later": 2,
    "429": 3,
    "500": 3,
    "silence": 2,
    "answer lost": 6,
    "answer broken off": 5,
    "answer never": 2,
}
SLOW_S = 0.3
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# Pages of other origins may read them, as they may read the collector's.
OPEN = b"access-control-allow-origin: *\r\naccess-control-expose-headers: retry-after\r\n"
ANSWERS: dict[Fault, bytes] = {
    "503": b"HTTP/1.1 503 Service Unavailable\r\n" + OPEN + b"content-length: 0\r\n\r\n",
    "503 later": b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"
    + OPEN
    + b"content-length: 0\r\n\r\n",
    "429": b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\n" + OPEN + b"content-length: 0\r\n\r\n",
    "500": b"HTTP/1.1 500 Internal Server Error\r\n" + OPEN + b"content-length: 4\r\n\r\noops",
}


class Gone(ConnectionError):
    """The collector is away or went away."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer, as bytes."""

    data: bytes
    last: bool  # the one who sent it closes


class Weather:
    """Listens on a port of its own in a thread of its own; open with `with`."""

    def __init__(self, target_port: int, seed: int) -> None:
        self.target_port = target_port
        self.met: Counter[str] = Counter()
        self.url = ""
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weather", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20), "the proxy cannot listen"
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the proxy does not end"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = Upstream(self.target_port)
        try:
            while request := await receive(reader):
                fault = self._draw()
                self.met[fault] += 1
                if not await self._pass_on(fault, request, upstream, writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            self.met["collector or client away"] += 1
        finally:
            upstream.close()
            writer.transport.abort()

    def _draw(self) -> Fault:
        return self._rng.choices(list(ODDS), list(ODDS.values()))[0]

    async def _pass_on(
        self, fault: Fault, request: Message, upstream: Upstream, writer: asyncio.StreamWriter
    ) -> bool:
        """Let one request meet its fault; whether the connection goes on."""
        if fault == "reset":
            return False
        if fault == "silence":
            await self._stop.wait()
            return False
        if fault in ANSWERS:
            return await send(writer, ANSWERS[fault])
        answer = await upstream.ask(request)
        if fault == "answer lost":
            return False
        if fault == "answer never":
            await self._stop.wait()
            return False
        if fault == "answer broken off":
            await send(writer, answer.data[:-2])
            return False
        if fault == "slow":
            await asyncio.sleep(SLOW_S)
        return await send(writer, answer.data) and not answer.last


class Upstream:
    """One connection to the collector, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: Message) -> Message:
        """Send the request; the answer. Raises Gone where there is none."""
        self._line = self._line or await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        reader, writer = self._line
        writer.write(request.data)
        answer = await receive(reader)
        if answer is None:
            raise Gone(f"the collector on port {self._port} closed the connection")
        if answer.last:
            self.close()
        return answer

    def close(self) -> None:
        """End it."""
        if self._line is not None:
            self._line[1].transport.abort()
            self._line = None


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """A whole message with a Content-Length, or without a body; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return Message(head + body, b"connection: close" in head.lower())


async def send(writer: asyncio.StreamWriter, data: bytes) -> bool:
    """Send; True, as the connection goes on."""
    writer.write(data)
    await writer.drain()
    return True
