"""The ClickHouse engine behind one small protocol: in this process (chDB) or a server over HTTP.

Calls block: the loader makes them from its own thread. Only one process may open an embedded folder and one process may
open only one folder; `Engine.readonly` hands out further connections of the same engine that cannot write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from headwater.errors import HeadwaterError

_CODE = re.compile(r"Code: (\d+)")

# What analysts get on a connection: SQL as Segment's own warehouses understand it, and no duplicate, ever.
ANALYST_SETTINGS: Mapping[str, str] = {
    "join_use_nulls": "1",
    "union_default_mode": "DISTINCT",
    "final": "1",
    "do_not_merge_across_partitions_select_final": "1",
    "prefer_column_name_to_alias": "0",
    "json_type_escape_dots_in_keys": "1",
    "date_time_input_format": "best_effort",
    "session_timezone": "UTC",
}


class EngineError(HeadwaterError):
    """What the engine refused; `code` is ClickHouse's number, 0 where the engine could not be reached."""

    def __init__(self, message: str, code: int = 0) -> None:
        self.code = code
        super().__init__(message)


class Client(Protocol):
    """The part of clickhouse_connect's client that Headwater uses."""

    def command(
        self, cmd: str, parameters: Any = None, data: Any = None, settings: dict[str, Any] | None = None
    ) -> Any:
        """Run a statement."""
        ...

    def raw_query(
        self,
        query: str,
        parameters: Any = None,
        settings: dict[str, Any] | None = None,
        fmt: str | None = None,
    ) -> bytes:
        """The answer of a query in any output format."""
        ...

    def raw_insert(
        self,
        table: str,
        column_names: Sequence[str],
        insert_block: Any,
        settings: dict[str, Any] | None = None,
        fmt: str | None = None,
    ) -> Any:
        """Insert bytes in any input format."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Engine(Protocol):
    """What the loader and the query interface need of ClickHouse."""

    embedded: bool

    def command(self, sql: str) -> None:
        """Run a statement. Raises EngineError."""
        ...

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """Rows of a query, as JSON values. Raises EngineError."""
        ...

    def insert_block(
        self, table: str, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
    ) -> None:
        """Insert bytes of an input format; durable when it returns. Raises EngineError."""
        ...

    def readonly_client(self, settings: Mapping[str, str] | None = None) -> Client:
        """A further connection that can only read, with these settings fixed. The caller closes it."""
        ...

    def close(self) -> None:
        """Close the connection; an embedded engine stops with its last one."""
        ...


class ClickHouse:
    """An engine reached through clickhouse_connect."""

    def __init__(self, arguments: Mapping[str, Any], *, embedded: bool) -> None:
        self.embedded = embedded
        self._arguments = dict(arguments)
        with _translated():
            self._client: Client = clickhouse_connect.get_client(**self._arguments)

    def command(self, sql: str) -> None:
        """Run a statement. Raises EngineError."""
        with _translated():
            self._client.command(sql)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """Rows of a query, as JSON values. Raises EngineError."""
        import orjson

        with _translated():
            answer = self._client.raw_query(sql, parameters=dict(parameters or {}), fmt="JSONCompactEachRow")
        return [orjson.loads(line) for line in answer.splitlines() if line]

    def insert_block(
        self, table: str, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
    ) -> None:
        """Insert bytes of an input format; durable when it returns. Raises EngineError."""
        with _translated():
            self._client.raw_insert(table, columns, data, settings=dict(settings), fmt=fmt)

    def readonly_client(self, settings: Mapping[str, str] | None = None) -> Client:
        """A further connection that can only read, with these settings fixed. The caller closes it."""
        with _translated():
            client: Client = clickhouse_connect.get_client(**self._arguments)
            for name, value in _assignments({**ANALYST_SETTINGS, **(settings or {}), "readonly": "1"}):
                client.command(f"SET {name} = {value}")
        return client

    def close(self) -> None:
        """Close the connection; an embedded engine stops with its last one."""
        self._client.close()


def open_embedded(path: Path) -> ClickHouse:
    """The engine in this process, with its tables below `path`. Raises EngineError."""
    path.mkdir(parents=True, exist_ok=True)
    options = {"config-file": str(Path(__file__).with_name("engine.xml"))}
    return ClickHouse({"interface": "chdb", "path": str(path), "chdb_options": options}, embedded=True)


def open_server(url: str, *, username: str, password: str, timeout_s: float) -> ClickHouse:
    """A server at `http(s)://host:port`. Raises EngineError where it cannot be reached."""
    arguments = {
        "dsn": url,
        "username": username,
        "password": password,
        "connect_timeout": min(timeout_s, 10),
        "send_receive_timeout": timeout_s,
        "autogenerate_session_id": False,
        "client_name": "headwater",
    }
    return ClickHouse(arguments, embedded=False)


def _assignments(settings: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Settings as SET takes them, readonly last: nothing can be set after it."""
    for name, value in sorted(settings.items(), key=lambda item: item[0] == "readonly"):
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"{name!r} is no setting's name")
        text = str(value).replace("\\", "\\\\").replace("'", "\\'")
        yield name, f"'{text}'"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise EngineError(str(error), _code(error)) from error
    except (OSError, RuntimeError) as error:  # sockets; chDB raises RuntimeError where it has no better class
        raise EngineError(f"{type(error).__name__}: {error}", _code(error)) from error


def _code(error: Exception) -> int:
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return code
    found = _CODE.search(str(error))
    return int(found[1]) if found else 0
