"""The read-only ClickHouse HTTP interface over the embedded engine, for clickhouse-connect, curl, JDBC and Grafana.

The event loop only moves bytes: queries run in threads, at most `limits.concurrent` at once, some more wait, the rest are
refused with code 202. A client that goes away has its query stopped. What may run is decided in `http_guard`, how in
`readonly`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from destinations.clickhouse import http_blocks, http_codes, http_drivers, http_encoding, http_request
from destinations.clickhouse.http_guard import Refused
from destinations.clickhouse.readonly import Answer, Limits, QueryFailed, Reader
from headwater.errors import AlreadyRunning
from headwater.serving import Server as Uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_OK = ("/", "/ping", "/replicas_status")
KILLS = 20  # how often a query is told to stop before its client hears that it will
KILL_S = 0.1  # the pause between


class Interface:
    """The ASGI application."""

    def __init__(self, reader: Reader, *, password: str = "", only_local_names: bool = True) -> None:
        limits = reader.limits
        self._reader, self._password, self._only_local_names = reader, password, only_local_names
        self._threads = ThreadPoolExecutor(2 * limits.concurrent + 2, thread_name_prefix="clickhouse-http")
        self._slots = asyncio.Semaphore(limits.concurrent)
        self._waiting = 0
        self._queries: dict[str, str] = {}  # tag -> the client's id of a query that waits or runs
        self._running: set[str] = set()  # those of them that have a slot
        self._stopped: set[str] = set()  # and those that a client has stopped

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(self._reader, scope, receive, send)
        try:
            await self._answer(exchange)
        except (Refused, QueryFailed) as failure:
            await exchange.fail(failure)
        except TimeoutError:
            await exchange.fail(Refused("The answer took too long to send", 159, "TIMEOUT_EXCEEDED"))

    async def close(self) -> None:
        """Wait for the threads; running queries end by their own limits."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    async def _answer(self, exchange: _Exchange) -> None:
        path = exchange.scope["path"]
        if self._only_local_names and not http_request.local_name(exchange.headers.get("host", "")):
            raise Refused("The Host header names another site", 516, "AUTHENTICATION_FAILED")
        if path not in _OK:
            return await exchange.text(404, f"There is no handle {path}\nUse / or /ping for health checks.\n")
        if exchange.scope["method"] not in ("GET", "POST", "HEAD"):
            return await exchange.text(405, "Use GET, POST or HEAD.\n")
        body = await exchange.body(self._reader.limits.query_bytes)
        wanted = http_request.read(
            exchange.query_string, exchange.headers, body, self._reader.limits.query_bytes
        )
        if wanted.ask is None or path != "/":
            return await exchange.text(200, "Ok.\n")
        self._authenticate(wanted)
        exchange.query_id, exchange.encoding, exchange.blocks = (
            wanted.query_id,
            wanted.encoding,
            wanted.blocks,
        )
        stopped = http_drivers.killed(wanted.ask.query)
        if stopped is not None:  # without a slot: it may be there to free one
            return await self._run(exchange, await self._stop(stopped, wanted.ask))
        return await self._run_in_turn(exchange, wanted.ask)

    async def _run_in_turn(self, exchange: _Exchange, ask: http_request.Ask) -> None:
        self._queries[ask.tag] = exchange.query_id
        try:
            async with self._slot():
                if ask.tag in self._stopped:
                    raise Refused("Query was cancelled while it waited", 394, "QUERY_WAS_CANCELLED")
                self._running.add(ask.tag)
                await self._run(exchange, ask)
        finally:
            del self._queries[ask.tag]
            self._running.discard(ask.tag)
            self._stopped.discard(ask.tag)

    async def _stop(self, query_id: str, ask: http_request.Ask) -> http_request.Ask:
        """Stop the queries of this interface that a client gave this id; what to answer with."""
        tags = {tag for tag, other in self._queries.items() if other == query_id}
        self._stopped |= tags
        for _ in range(KILLS):  # again and again: the engine does not know of a query that has just begun
            for tag in tags & self._running:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._reader.kill, tag)
            if not tags & self._running:
                break
            await asyncio.sleep(KILL_S)
        return replace(ask, query=http_drivers.kill_answer(query_id, runs=bool(tags)))

    def _authenticate(self, wanted: http_request.Wanted) -> None:
        if self._password and not hmac.compare_digest(self._password.encode(), wanted.password.encode()):
            raise Refused(
                f"{wanted.user or 'default'}: Authentication failed: password is incorrect",
                516,
                "AUTHENTICATION_FAILED",
            )

    @contextlib.asynccontextmanager
    async def _slot(self) -> Any:
        limits = self._reader.limits
        if self._slots.locked() and self._waiting >= limits.waiting:
            text = f"Too many simultaneous queries. Maximum: {limits.concurrent}, waiting: {limits.waiting}"
            raise Refused(text, 202, "TOO_MANY_SIMULTANEOUS_QUERIES")
        self._waiting += 1
        try:
            async with asyncio.timeout(limits.wait_s):
                await self._slots.acquire()
        except TimeoutError:
            text = (
                f"Too many simultaneous queries: none of {limits.concurrent} ended within {limits.wait_s:g} s"
            )
            raise Refused(text, 202, "TOO_MANY_SIMULTANEOUS_QUERIES") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _run(self, exchange: _Exchange, ask: http_request.Ask) -> None:
        """Run the query and send its answer; the slot is held until its thread is free again."""
        loop = asyncio.get_running_loop()
        gone = asyncio.create_task(exchange.gone())
        gone.add_done_callback(lambda done: None if done.cancelled() else self._kill(ask.tag))
        started = loop.run_in_executor(self._threads, self._reader.run, ask)
        answer: Answer | None = None
        try:
            answer = await self._finished(started, ask.tag)
            async with asyncio.timeout(self._reader.limits.answer_s):
                await exchange.stream(answer, self._threads, gone)
        except (TimeoutError, asyncio.CancelledError):
            self._kill(ask.tag)
            raise
        finally:
            gone.cancel()
            if answer is not None:
                await loop.run_in_executor(self._threads, answer.close)

    async def _finished(self, started: asyncio.Future[Answer], tag: str) -> Answer:
        """The result; if this task is cancelled meanwhile the query is stopped and its connection closed."""
        try:
            return await asyncio.shield(started)
        except asyncio.CancelledError:
            self._kill(tag)
            with contextlib.suppress(Refused, QueryFailed):
                (await started).close()
            raise

    def _kill(self, tag: str) -> None:
        self._threads.submit(self._reader.kill, tag)


class _Exchange:
    """One request and its answer."""

    def __init__(self, reader: Reader, scope: Message, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send, self._reader = scope, receive, send, reader
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.query_string = scope["query_string"].decode("latin-1")
        self.query_id, self.encoding, self.blocks, self._begun = "", "", False, False
        self._tag = secrets.token_hex(8)
        self._encoder: http_encoding.Encoder | None = None

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises Refused where it is too long."""
        parts, size = [], 0
        while True:
            message = await self._receive()
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise Refused(f"The query is larger than {limit} bytes", 243, "QUERY_IS_TOO_LARGE")
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def gone(self) -> None:
        """Returns when the client has hung up."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def text(self, status: int, text: str, **headers: str) -> None:
        """A whole plain answer."""
        body = text.encode()
        always = {"content-type": "text/plain; charset=UTF-8", "content-length": str(len(body))}
        await self._begin(status, {**always, **headers})
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self, answer: Answer, threads: ThreadPoolExecutor, gone: asyncio.Task[None]) -> None:
        """The answer chunk by chunk, as fast as the client takes it."""
        loop = asyncio.get_running_loop()
        headers = {
            "content-type": http_codes.content_type(answer.format),
            "x-clickhouse-format": answer.format,
            "x-clickhouse-summary": json.dumps(dict(answer.summary), separators=(",", ":")),
        }
        if self.encoding:
            self._encoder = http_encoding.ENCODERS[self.encoding]()
            headers["content-encoding"] = self.encoding
        elif self.blocks:
            self._encoder = http_blocks.Blocks()
        chunk = await loop.run_in_executor(threads, answer.next)
        await self._begin(200, headers)
        while chunk is not None and not gone.done():
            await self._write(chunk)
            chunk = await loop.run_in_executor(threads, answer.next)
        await self._end()

    async def fail(self, failure: Refused | QueryFailed) -> None:
        """The error in ClickHouse's shape; after the first byte it ends the stream, marked, and the connection breaks."""
        code = failure.code
        message = (
            f"{failure} (version {self._reader.version})\n"
            if "(version " not in str(failure)
            else f"{failure}\n"
        )
        if not self._begun:
            status = http_codes.status_of(code)
            await self.text(status, message, **{"x-clickhouse-exception-code": str(code)})
            return
        size = len(message.encode())
        mark = (
            f"\r\n__exception__\r\n{self._tag}\r\n{message}{size} {self._tag}\r\n__exception__\r\n".encode()
        )
        if isinstance(self._encoder, http_blocks.Blocks):
            await self._send_more(self._encoder.readable(mark))
        else:
            await self._write(mark)
        # and no last chunk: the connection breaks, so that no client takes the answer for whole
        await self._flush()

    async def _begin(self, status: int, headers: dict[str, str]) -> None:
        self._begun = True
        always = {
            "x-clickhouse-server-display-name": "headwater",
            "x-clickhouse-timezone": self._reader.timezone,
            "x-clickhouse-exception-tag": self._tag,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **({"x-clickhouse-query-id": self.query_id} if self.query_id else {}),
        }
        pairs = [
            (name.encode(), value.encode("latin-1", "replace"))
            for name, value in {**always, **headers}.items()
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _write(self, data: bytes) -> None:
        await self._send_more(self._encoder.compress(data) if self._encoder else data)

    async def _flush(self) -> None:
        if self._encoder:
            await self._send_more(self._encoder.flush())

    async def _send_more(self, ready: bytes) -> None:
        if ready:
            await self._send({"type": "http.response.body", "body": ready, "more_body": True})

    async def _end(self) -> None:
        await self._flush()
        await self._send({"type": "http.response.body", "body": b""})


class Server:
    """The interface on a socket. `start` binds before it returns; `stop` lets running answers end."""

    def __init__(self, interface: Interface, reader: Reader, listener: socket.socket) -> None:
        self._interface, self._reader, self._listener = interface, reader, listener
        self.host, self.port = listener.getsockname()[:2]
        config = uvicorn.Config(
            interface,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            limit_concurrency=256,
            timeout_graceful_shutdown=5,
            server_header=False,
        )
        self._listens = asyncio.Event()
        self._server = Uvicorn(config, self._listens.set)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take requests."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="clickhouse-http")
        ready = asyncio.create_task(self._listens.wait())
        await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Stop taking requests, let running ones end within 5 s, close the connections."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        await self._interface.close()
        self._listener.close()
        await asyncio.to_thread(self._reader.close)


def serve(
    path: Path, host: str = "127.0.0.1", port: int = 8123, *, limits: Limits | None = None, password: str = ""
) -> Server:
    """A server over the engine of `path` (open in this process, or opened now); port 0 takes a free one.

    Blocks for some milliseconds. Raises AlreadyRunning where the port is in use.
    """
    listener = _listen(host, port)
    try:
        reader = Reader(path, limits)
    except BaseException:
        listener.close()
        raise
    loopback = http_request.local_name(host)
    return Server(Interface(reader, password=password, only_local_names=loopback), reader, listener)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, or asyncio leaves Nagle's algorithm on: 44 ms for each answer
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as taken:
        listener.close()
        raise AlreadyRunning(
            f"the ClickHouse interface cannot listen on {host}:{port}: {taken.strerror}; "
            "stop what uses the port or choose another with --clickhouse-port"
        ) from taken
    listener.setblocking(False)
    return listener
