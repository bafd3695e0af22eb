"""A loopback HTTP server that answers as told: statuses, headers, bodies, resets, silence."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import orjson


@dataclass(frozen=True, slots=True)
class Got:
    """A request that arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the body, an array or one object."""
        value = orjson.loads(self.body)
        return value if isinstance(value, list) else [value]

    @property
    def ids(self) -> list[str]:
        """The messageIds of the events."""
        return [event["messageId"] for event in self.events]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer. `reset` closes the connection without a word, `silent` never answers."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False
    silent: bool = False


OK = Answer()
Script = Callable[[Got], Answer]


class Receiver:
    """Takes requests; `script` are the next answers, `rule` decides once the script is over."""

    def __init__(self, *script: Answer, rule: Script = lambda _: OK) -> None:
        self.script, self.rule = deque(script), rule
        self.got: list[Got] = []
        self.changed = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/in"

    @property
    def ids(self) -> list[str]:
        """Every messageId that arrived, in order, as often as it arrived."""
        return [id_ for got in self.got for id_ in got.ids]

    async def requests(self, count: int) -> list[Got]:
        """Wait until that many requests arrived."""
        async with self.changed, asyncio.timeout(10):
            await self.changed.wait_for(lambda: len(self.got) >= count)
        return self.got

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while (got := await _read(reader)) is not None:
                async with self.changed:
                    self.got.append(got)
                    self.changed.notify_all()
                answer = self.script.popleft() if self.script else self.rule(got)
                if answer.silent:
                    await reader.read()
                    return
                if answer.reset:
                    return
                writer.write(_wire(answer))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Got | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ", 2)
    return Got(method, target, headers, body)


def _wire(answer: Answer) -> bytes:
    headers = {"content-length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body
