"""The ClickHouse engine behind one small protocol: in this process (chDB) or a server over HTTP.

Calls block: the loader makes them from its own thread. Only one process may open an embedded folder and one process may
open only one folder; `Engine.readonly` hands out further connections of the same engine that cannot write.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import clickhouse_connect
import zstandard
from clickhouse_connect.driver.exceptions import ClickHouseError

from headwater.errors import HeadwaterError

_CODE = re.compile(r"Code: (\d+)")
_ADDRESS = re.compile(r" with url: /\?\S+")  # of a request: pages of settings before the reason

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


OLDEST = (25, 8)  # of servers: `json_type_escape_dots_in_keys`, which the views depend on, came with it
# Sent with everything to a server, whatever its profile says. Inserts that the server gathers would be acknowledged and
# deduplicated by other rules than ours, and blocks of one insert made by several threads would get the token's numbers
# in another order each time.
SERVER_SETTINGS: Mapping[str, str] = {
    "async_insert": "0",
    "max_insert_threads": "1",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
}
# ON CLUSTER waits for the servers that answer; one that is down does what it missed when it is back.
CLUSTER_SETTINGS: Mapping[str, str] = {"distributed_ddl_output_mode": "throw_only_active"}
_UNKNOWN_SETTING = 115


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
        compression: str | None = None,
        transport_settings: dict[str, str] | None = None,
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
    """An engine reached through clickhouse_connect; a server is connected to at the first call."""

    def __init__(self, arguments: Mapping[str, Any], *, embedded: bool, compress: bool = False) -> None:
        self.embedded = embedded
        self._arguments, self._compress = dict(arguments), compress
        self._lock = threading.Lock()
        self._client: Client | None = self._connect() if embedded else None

    def command(self, sql: str) -> None:
        """Run a statement. Raises EngineError."""
        with _translated():
            self._connected().command(sql)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """Rows of a query, as JSON values. Raises EngineError."""
        import orjson

        with _translated():
            answer = self._connected().raw_query(
                sql, parameters=dict(parameters or {}), fmt="JSONCompactEachRow"
            )
        return [orjson.loads(line) for line in answer.splitlines() if line]

    def insert_block(
        self, table: str, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
    ) -> None:
        """Insert bytes of an input format; durable when it returns. Raises EngineError."""
        with _translated():
            client = self._connected()
            if self.embedded:
                client.raw_insert(table, columns, data, settings=dict(settings), fmt=fmt)
            else:
                client.raw_insert(table, columns, fmt=fmt, **self._posted(data, settings))

    def _posted(self, data: bytes, settings: Mapping[str, str]) -> dict[str, Any]:
        """What an insert over HTTP takes. As a stream: clickhouse_connect would send bytes again by itself after a lost
        connection, and an insert that is repeated before the table was asked cannot be told from one that was lost.
        """
        body = zstandard.ZstdCompressor(level=1).compress(data) if self._compress else data
        return {
            "insert_block": io.BytesIO(body),
            # whether the answer is an error is known only at the end, so the status must wait for it
            "settings": {**settings, "wait_end_of_query": "1"},
            "compression": "zstd" if self._compress else None,
            "transport_settings": {"Content-Length": str(len(body))},
        }

    def readonly_client(self, settings: Mapping[str, str] | None = None) -> Client:
        """A further connection that can only read, with these settings fixed. The caller closes it."""
        with _translated():
            client: Client = clickhouse_connect.get_client(**self._arguments)
            for name, value in _assignments({**ANALYST_SETTINGS, **(settings or {}), "readonly": "1"}):
                client.command(f"SET {name} = {value}")
        return client

    def close(self) -> None:
        """Close the connection; an embedded engine stops with its last one."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Client:
        with _translated():
            client = clickhouse_connect.get_client(**self._arguments)
        if not self.embedded and _version(client.server_version) < OLDEST:
            client.close()
            raise EngineError(
                f"the ClickHouse server has version {client.server_version}; Headwater needs "
                f"{'.'.join(map(str, OLDEST))} or newer: its JSON columns keep dots inside keys since then",
                _UNKNOWN_SETTING,
            )
        found: Client = client
        return found


def open_embedded(path: Path) -> ClickHouse:
    """The engine in this process, with its tables below `path`. Raises EngineError."""
    path.mkdir(parents=True, exist_ok=True)
    options = {"config-file": str(Path(__file__).with_name("engine.xml"))}
    return ClickHouse({"interface": "chdb", "path": str(path), "chdb_options": options}, embedded=True)


def open_server(
    url: str,
    *,
    username: str,
    password: str,
    timeout_s: float,
    ca: str | None = None,
    compress: bool = True,
    settings: Mapping[str, str] | None = None,
) -> ClickHouse:
    """A server at `http(s)://host:port`; the first call connects. `ca` is a file of certificates to trust."""
    arguments = {
        **_place(url),
        "username": username,
        "password": password,
        "connect_timeout": max(1, min(round(timeout_s), 10)),
        "send_receive_timeout": max(1, round(timeout_s)),
        "autogenerate_session_id": False,
        "client_name": "headwater",
        "settings": {**SERVER_SETTINGS, **(settings or {})},
        **({"ca_cert": ca} if ca else {}),
    }
    return ClickHouse(arguments, embedded=False, compress=compress)


def _place(url: str) -> dict[str, Any]:
    """Scheme, host and port; not left to the driver, which would speak unencrypted to an https:// address."""
    parts = urlsplit(url)
    port = parts.port or (8443 if parts.scheme == "https" else 8123)
    return {
        "interface": parts.scheme,
        "host": parts.hostname,
        "port": port,
        "proxy_path": parts.path.strip("/"),
    }


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


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
        raise EngineError(_ADDRESS.sub("", str(error)), _code(error)) from error
    except (OSError, RuntimeError) as error:  # sockets; chDB raises RuntimeError where it has no better class
        raise EngineError(f"{type(error).__name__}: {error}", _code(error)) from error


def _code(error: Exception) -> int:
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return code
    found = _CODE.search(str(error))
    return int(found[1]) if found else 0
