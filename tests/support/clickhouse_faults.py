"""A proxy before a ClickHouse server that fails requests as scripted, and writes down what was asked.

It reads one whole request, decides, forwards, and answers; every connection carries one request. `down` closes the port,
`up` opens the same one again. With certificates it speaks TLS.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

from destinations.clickhouse import http_codes, http_encoding, http_request

When = Literal["before", "after"]
_NAMES = {
    81: "UNKNOWN_DATABASE", 159: "TIMEOUT_EXCEEDED", 241: "MEMORY_LIMIT_EXCEEDED", 242: "TABLE_IS_READ_ONLY",
    252: "TOO_MANY_PARTS", 319: "UNKNOWN_STATUS_OF_INSERT", 497: "ACCESS_DENIED", 516: "AUTHENTICATION_FAILED",
    1000: "POCO_EXCEPTION",
}  # fmt: skip


@dataclass
class Fault:
    """What becomes of the next `times` requests whose statement matches.

    `code` answers with that error, 0 resets the connection; either before the request takes effect or after. `delay_s`
    instead lets the server work on it for so long.
    """

    statement: str
    code: int = 0
    when: When = "before"
    times: int = 1
    delay_s: float = 0
    message: str = "planned"


@dataclass
class Request:
    """A request that came."""

    statement: str
    settings: dict[str, str]
    user: str
    size: int = 0  # of the body
    status: int = 0  # 0: reset
    encoding: str = ""
    raw: tuple[bytes, bytes] = field(default=(b"", b""), repr=False)


INSERT = r"INSERT INTO `\w+`.`events`"


@dataclass
class Faults:
    """The proxy; used as a context manager, it runs in a thread of its own."""

    target_port: int
    tls: ssl.SSLContext | None = None
    script: list[Fault] = field(default_factory=list)
    met: list[Request] = field(default_factory=list)
    swaps: dict[str, str] = field(default_factory=dict)
    port: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.up()
        return self

    def __exit__(self, *exc: object) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def plan(self, statement: str, **options: Any) -> None:
        """Fail what matches; faults of one pattern follow one another."""
        self.script.append(Fault(statement, **options))

    def swap(self, old: str, new: str) -> None:
        """Ask the server something else in place of `old`, as a server that is set up in another way."""
        self.swaps[old] = new

    def up(self) -> None:
        """Take connections."""
        self._call(self._open)

    def down(self) -> None:
        """Refuse connections; those under way are reset."""
        self._call(self._close)

    def statements(self, pattern: str) -> list[Request]:
        """Requests whose statement matches, in order."""
        return [one for one in self.met if re.search(pattern, one.statement)]

    def repeat(self, request: Request) -> int:
        """Send a request once more, as a network that kept it would; the status of the answer."""
        answer = asyncio.run_coroutine_threadsafe(self._forward(*request.raw, 0), self._loop).result(10)
        return int(answer.split(b" ", 2)[1])

    def _call(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(
            self._connection, "127.0.0.1", self.port, ssl=self.tls, limit=1 << 26
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._exchange(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                assert isinstance(error, (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)), error
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        request = _read(head, body)
        self.met.append(request)
        for old, new in self.swaps.items():
            body = body.replace(old.encode(), new.encode().ljust(len(old)))
        fault = self._next(request.statement)
        if fault is not None and fault.when == "before" and not fault.delay_s:
            await self._fail(writer, request, fault)
            return
        answer = await self._forward(head, body, fault.delay_s if fault else 0)
        if fault is not None and not fault.delay_s:
            await self._fail(writer, request, fault)
            return
        request.status = int(answer.split(b" ", 2)[1])
        await _send(writer, answer)

    def _next(self, statement: str) -> Fault | None:
        for fault in self.script:
            if re.search(fault.statement, statement):
                fault.times -= 1
                if fault.times <= 0:
                    self.script.remove(fault)
                return fault
        return None

    async def _fail(self, writer: asyncio.StreamWriter, request: Request, fault: Fault) -> None:
        if not fault.code:
            return  # the connection is reset when this returns
        name = _NAMES.get(fault.code, "PLANNED")
        text = f"Code: {fault.code}. DB::Exception: {fault.message}. ({name}) (version 26.9.2.1)\n".encode()
        request.status = http_codes.status_of(fault.code)
        head = (
            f"HTTP/1.1 {request.status} Planned\r\ncontent-length: {len(text)}\r\nconnection: close\r\n"
            f"x-clickhouse-exception-code: {fault.code}\r\n\r\n"
        )
        await _send(writer, head.encode() + text)

    async def _forward(self, head: bytes, body: bytes, delay_s: float) -> bytes:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self.target_port)
        extra = f"connection: close\r\nx-test-delay: {delay_s}\r\n\r\n".encode()
        kept = re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.IGNORECASE)
        downstream.write(kept[:-2] + extra + body)
        await downstream.drain()
        answer = await upstream.read()
        downstream.close()
        return answer


async def _send(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    writer.close()
    await writer.wait_closed()


def _read(head: bytes, body: bytes) -> Request:
    line, _, rest = head.decode("latin-1").partition("\r\n")
    fields = dict(parse_qsl(line.split(" ")[1].partition("?")[2], keep_blank_values=True))
    named = {k.lower(): v.strip() for k, _, v in (one.partition(":") for one in rest.split("\r\n") if one)}
    encoding = named.get("content-encoding", "")
    text = fields.get("query") or http_encoding.decode(body, encoding, 1 << 30)[:4_000].decode(
        "utf-8", "replace"
    )
    settings = {k: v for k, v in fields.items() if k != "query"}
    return Request(text, settings, _user(named), len(body), encoding=encoding, raw=(head, body))


def _user(headers: dict[str, str]) -> str:
    return http_request._credentials({}, headers)[0]
