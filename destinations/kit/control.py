"""A door into the running destinations process: a Unix socket in the data folder, JSON lines each way.

On one machine only that process may write its log file, so what operators decide about dead letters goes through here; and
only it knows which destination is paused and why. Where no process runs in this folder, `settle_letters` opens the log
itself; on Kafka the processes of other hosts go on meanwhile, for the letters have an owner of their own.

    {"do": "status"}                                             -> {"ok": true, "result": [...]}
    {"do": "retry" | "discard", "destination": ..., "ids": ...}  -> {"ok": true, "result": {"count": 0, "done": [], ...}}
    {"do": "freeze"}                                             -> see `destinations.kit.pause`
    anything else                                                -> {"ok": false, "error": "..."}

Settling millions of letters takes a while: lines `{"progress": [done, total]}` come before the answer.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from destinations.kit import dlq
from destinations.kit.books import Books
from destinations.kit.pause import Freezable, NoTables, freeze
from destinations.kit.registry import TABLES
from headwater.clock import Clock
from headwater.errors import Fenced, HeadwaterError
from headwater.log.open import open_log
from headwater.log.protocol import Log
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace

SOCKET = "destinations.sock"
LINE_BYTES = 1 << 20
SUN_PATH = 100  # the kernel takes about 107 bytes; folders of real installations can be longer

Status = Callable[[], list[dict[str, Any]]]
Say = Callable[[dict[str, Any]], Awaitable[None]]


class ControlUnavailable(HeadwaterError):
    """No destinations process answers in this data folder."""


class Refused(HeadwaterError):
    """The destinations process did not do what it was asked; the message says why."""


@asynccontextmanager
async def serve_control(
    data: DataDir,
    log: Log,
    live: LiveWorkspace,
    clock: Clock,
    status: Status,
    tables: Freezable | None = None,
) -> AsyncIterator[None]:
    """Answer on the socket while the block runs."""
    door = _Door(log, live, clock, status, tables or NoTables())
    listener = _bind(data.run)
    server = await asyncio.start_unix_server(door.answer, sock=listener, limit=LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        door.close()
        (data.run / SOCKET).unlink(missing_ok=True)


class _Door:
    def __init__(
        self, log: Log, live: LiveWorkspace, clock: Clock, status: Status, tables: Freezable
    ) -> None:
        self._log, self._live, self._clock, self._status = log, live, clock, status
        self._tables = tables
        self._open: set[asyncio.StreamWriter] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One line in, one line out, after lines of progress where it takes long; a backup stays connected."""
        self._open.add(writer)

        async def say(answer: dict[str, Any]) -> None:
            writer.write(orjson.dumps(answer) + b"\n")
            await writer.drain()

        try:
            await self._do(await reader.readline(), reader, say)
        except (ConnectionError, ValueError):
            return  # the caller went away, or sent a line beyond the limit
        finally:
            self._open.discard(writer)
            writer.close()

    async def _do(self, line: bytes, reader: asyncio.StreamReader, say: Say) -> None:
        async def well(result: Any) -> None:
            await say({"ok": True, "result": result})

        async def tell(done: int, total: int) -> None:
            await say({"progress": [done, total]})

        try:
            asked = orjson.loads(line)
            if asked.get("do") == "freeze":
                await freeze(self._tables, reader, well)
            else:
                await well(await self._result(asked, tell))
        except HeadwaterError as error:
            await say({"ok": False, "error": str(error)})
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            await say({"ok": False, "error": f"not understood: {type(error).__name__}: {error}"})

    async def _result(self, asked: dict[str, Any], tell: dlq.Progress) -> Any:
        if asked.get("do") == "status":
            return self._status()
        action, name, ids = asked["do"], asked["destination"], asked.get("ids")
        return await settle(self._log, self._live.current, self._clock, action, name, ids, tell)

    def close(self) -> None:
        """Let nobody wait for an answer that will not come."""
        for writer in self._open:
            writer.close()


async def settle(
    log: Log,
    workspace: Workspace,
    clock: Clock,
    action: str,
    name: str,
    ids: Sequence[int] | None,
    progress: dlq.Progress = dlq.quietly,
) -> dict[str, Any]:
    """Retry or discard dead letters with a log that this process may write. Raises Refused, LogError."""
    destination = workspace.destinations.get(name)
    if action not in ("retry", "discard"):
        raise Refused(f"unknown action {action!r}; known: status, retry, discard, freeze")
    if destination is not None and destination.type in TABLES and action == "retry":
        raise Refused(
            f"destination {name!r} is a {destination.type} table: it takes no single events again; "
            "discard the letters, or mend the events and send them anew"
        )
    act = dlq.retry if action == "retry" else dlq.discard
    try:
        found = await act(log, Books.of(log, name), clock, ids, progress)
    except Fenced as fenced:
        raise Refused(
            f"somebody else decides about the dead letters of {name!r} since; what was settled before that stays so. "
            f"Look at `headwater dlq list {name}` and ask again for the rest"
        ) from fenced
    return {"count": found.count, "done": found.done, "unknown": found.unknown}


async def settle_letters(
    data: DataDir,
    workspace: Workspace,
    clock: Clock,
    action: str,
    name: str,
    ids: Sequence[int] | None,
    progress: dlq.Progress = dlq.quietly,
) -> dict[str, Any]:
    """Retry or discard dead letters from any process: through the running one, else by opening the log.

    `ids` None means all open letters, which are counted but not listed in the answer {"count": n, "done": [ids], "unknown":
    [ids]}. Raises Refused, LogError, AlreadyRunning.
    """
    try:
        asked = {"do": action, "destination": name, "ids": None if ids is None else list(ids)}
        result: dict[str, Any] = await call(data, asked, progress=progress)
    except ControlUnavailable:
        async with open_log(workspace.log, data, "destinations") as log:
            return await settle(log, workspace, clock, action, name, ids, progress)
    return result


async def status(data: DataDir) -> list[dict[str, Any]]:
    """Each running destination's state, reason and next probe. Raises ControlUnavailable."""
    result: list[dict[str, Any]] = await call(data, {"do": "status"})
    return result


@asynccontextmanager
async def frozen(
    data: DataDir, timeout_s: float = 120.0
) -> AsyncIterator[tuple[Path | None, Callable[[], None]]]:
    """Loaders that stand still until the callable is called, and the picture of the embedded ClickHouse for the block.

    Raises ControlUnavailable where no process answers, Refused where it says no.
    """
    try:
        async with asyncio.timeout(timeout_s):
            with _reachable(data.run) as path:
                reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
            writer.write(orjson.dumps({"do": "freeze"}) + b"\n")
            answer = await _answer(reader, timeout_s, dlq.quietly)
    except (OSError, TimeoutError) as error:
        raise ControlUnavailable(f"no destinations process answers in {data.root}: {error}") from error
    try:
        picture = _result_of(data, answer)["clickhouse"]
        yield (None if picture is None else Path(picture)), lambda: writer.write(b"\n")
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def call(
    data: DataDir, asked: dict[str, Any], timeout_s: float = 60.0, progress: dlq.Progress = dlq.quietly
) -> Any:
    """Ask the running process; every line of its answer may take `timeout_s`.

    Raises ControlUnavailable where none answers, Refused where it says no.
    """
    try:
        async with asyncio.timeout(timeout_s):
            with _reachable(data.run) as path:
                reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES * 64)
        try:
            writer.write(orjson.dumps(asked) + b"\n")
            answer = await _answer(reader, timeout_s, progress)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise ControlUnavailable(f"no destinations process answers in {data.root}: {error}") from error
    return _result_of(data, answer)


def _result_of(data: DataDir, answer: dict[str, Any] | None) -> Any:
    if answer is None:
        raise ControlUnavailable(f"the destinations process of {data.root} went away while it was asked")
    if not answer["ok"]:
        raise Refused(answer["error"])
    return answer["result"]


async def _answer(
    reader: asyncio.StreamReader, timeout_s: float, progress: dlq.Progress
) -> dict[str, Any] | None:
    """The answer, after any number of lines of progress; None where the other side went away."""
    while True:
        async with asyncio.timeout(timeout_s):
            line = await reader.readline()
        if not line:
            return None
        answer: dict[str, Any] = orjson.loads(line)
        if (told := answer.get("progress")) is None:
            return answer
        await progress(*told)


def _bind(folder: Path) -> socket.socket:
    """A listening socket that only this user may open; a stale one of a killed process is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    with _reachable(folder) as path:
        listener.bind(path)
    (folder / SOCKET).chmod(0o600)
    return listener


@contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """The socket's path as the kernel takes it: through an open folder where the name itself is too long."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) <= SUN_PATH:
        yield path
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}/{SOCKET}"
    finally:
        os.close(opened)
