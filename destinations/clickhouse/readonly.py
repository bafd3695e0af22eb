"""Read-only queries on the embedded engine, each on a connection of its own with its limits fixed.

A connection costs 0.2 ms. `readonly=1` is set on it last: from then on neither the limits nor read-only mode can be
changed. Queries run on the engine's own threads without the interpreter's lock, and inserts of the loader go on beside
them (2-4 ms each). Calls block: the HTTP interface makes them from a pool of threads.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from destinations.clickhouse import http_drivers, http_guard
from destinations.clickhouse.engine import ANALYST_SETTINGS
from destinations.clickhouse.http_request import DATABASE, Ask

# The engine encodes a stream block by block: only formats without a head and a foot may be sent as they come.
STREAMED = frozenset(
    ("Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow", "JSONLines", "NDJSON")
)
# What a driver may set for itself; everything else it sends is answered as if it had been set.
PASSED = frozenset(
    ("date_time_output_format", "extremes", "result_overflow_mode", "max_result_rows", "max_execution_time",
     "session_timezone", "join_use_nulls", "union_default_mode", "final", "limit", "offset", "date_time_input_format",
     "low_cardinality_allow_in_native_format", "format_csv_delimiter", "max_block_size", "cast_keep_nullable")
)  # fmt: skip
_CODE = re.compile(r"Code: (\d+)")
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query and all of them together may take. Bytes and seconds."""

    concurrent: int = (
        2  # more would take the loader's processor time on a small machine; a dashboard's panels wait
    )
    waiting: int = 32
    wait_s: float = 10.0
    memory: int = 512 << 20
    seconds: int = 60
    threads: int = 1
    rows: int = 10_000_000
    buffered_bytes: int = 128 << 20  # of formats that cannot be streamed
    query_bytes: int = 1 << 20
    answer_s: float = 600.0


class QueryFailed(Exception):
    """What the engine answered instead of rows; `code` is ClickHouse's number."""

    def __init__(self, message: str) -> None:
        start = message.find("Code: ")
        text = (
            message[start:].strip()
            if start >= 0
            else f"Code: 1002. DB::Exception: {message.strip()} (UNKNOWN_EXCEPTION)"
        )
        found = _CODE.match(text)
        self.code = int(found[1]) if found else 1002
        super().__init__(text)


@dataclass(slots=True)
class Answer:
    """The bytes of a result in `format`; `summary` is known once the result is whole."""

    format: str
    chunks: Iterator[bytes]
    summary: Mapping[str, str] = field(default_factory=dict)
    connection: Any = None
    stream: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> bytes | None:
        """The next chunk, None at the end. Raises QueryFailed."""
        with self.lock:
            return next(self.chunks, None)

    def close(self) -> None:
        """Stop the query if it still runs and free its connection; waits for a chunk that is being made."""
        with self.lock:
            if self.stream is not None:
                self.stream.close()
            if self.connection is not None:
                self.connection.close()
            self.chunks, self.stream, self.connection = iter(()), None, None


class Reader:
    """Runs queries on the engine of `path`, which this process has open or opens now."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        import chdb

        self._connect, self._path, self.limits = chdb.connect, str(path), limits or Limits()
        self._longest = (
            4 * self.limits.query_bytes
        )  # the canonical text, or the hex of the client's, is longer than it
        self._control = self._connect(self._path)
        self._lock = threading.Lock()
        self._control.query(f"SET max_threads = 1, max_query_size = {self._longest}, readonly = 1")
        self.version = self._column("SELECT version()")[0]
        self.timezone = ANALYST_SETTINGS.get("session_timezone") or self._column("SELECT timezone()")[0]
        self._settings = frozenset(self._column("SELECT name FROM system.settings"))
        functions = {name.lower() for name in self._column("SELECT name FROM system.functions")}
        tables = {name.lower() for name in self._column("SELECT name FROM system.table_functions")}
        self._leaving = frozenset(
            tables - http_guard.TABLE_FUNCTIONS
        )  # may be called by DESCRIBE even when read-only
        self._denied = frozenset(self._leaving - functions) | {"eval", "python", "file"}

    def run(self, ask: Ask) -> Answer:
        """Execute one statement. Raises QueryFailed or http_guard.Refused."""
        if ask.query.strip().upper().startswith("USE "):  # lasts no longer than the request: nothing to do
            return Answer(ask.default_format, iter(()))
        if http_drivers.is_hello(ask.query, ask.default_format, ask.revision):
            return Answer("Native", iter((http_drivers.hello(self.version, self.timezone),)))
        text = self._canonical(ask.query)
        selects = text.upper().startswith(("SELECT", "WITH", "("))
        found = http_guard.check(text, ask.parameters, self._denied if selects else self._leaving)
        chosen = http_guard.output_format(found) or ask.default_format
        streamed = chosen in STREAMED and selects  # the engine streams nothing else
        connection = self._open(ask, streamed=streamed, catalogue=http_drivers.reads_catalogue(found))
        try:
            return (_stream if streamed else _whole)(connection, text, chosen, dict(ask.parameters))
        except RuntimeError as failure:  # what chDB raises
            connection.close()
            raise QueryFailed(str(failure)) from failure

    def kill(self, tag: str) -> None:
        """Stop the query with this tag, if it still runs."""
        with self._lock:
            self._control.query(
                f"KILL QUERY WHERE Settings['log_comment'] = {_literal(tag)} ASYNC", "TabSeparated"
            )

    def close(self) -> None:
        """Close the connection for control; running queries have their own."""
        with self._lock:
            self._control.close()

    def _column(self, sql: str) -> list[str]:
        with self._lock:
            return bytes(self._control.query(sql, "TabSeparated").bytes()).decode().splitlines()

    def _canonical(self, query: str) -> str:
        """The engine's own spelling of exactly one statement, without comments."""
        trimmed = query.strip().rstrip(";").rstrip()
        try:
            with self._lock:
                # in hex: chDB looks through a statement's text for `Python(name)`, also inside its strings
                wrapped = f"SELECT formatQuery(unhex('{trimmed.encode().hex()}'))"
                result = self._control.query(wrapped, "TabSeparatedRaw")
                return bytes(result.bytes()).decode().removesuffix("\n")
        except RuntimeError as failure:
            raise QueryFailed(_without_scope(str(failure))) from failure

    def _open(self, ask: Ask, *, streamed: bool, catalogue: bool) -> Any:
        """A connection with the client's settings below the limits, and read-only after them."""
        # drivers ask the catalogue in queries that are written for ClickHouse's own default
        joins = {"join_use_nulls": "0"} if catalogue else {}
        passed = self._passed(ask.settings)
        limits = self.limits
        fixed = {
            **ANALYST_SETTINGS, **joins, **passed,
            "max_threads": str(limits.threads), "max_memory_usage": str(limits.memory),
            "max_execution_time": _least(passed.get("max_execution_time"), limits.seconds),
            "max_result_rows": _least(passed.get("max_result_rows"), limits.rows),
            "max_result_bytes": "0" if streamed else str(limits.buffered_bytes),
            "max_block_size": _least(passed.get("max_block_size"), 65_409),
            "max_query_size": str(self._longest), "log_comment": ask.tag,
        }  # fmt: skip
        connection = self._connect(self._path)
        try:
            pairs = ", ".join(f"{name} = {_literal(value)}" for name, value in fixed.items())
            connection.query(f"SET {pairs}")
            name = DATABASE if ask.database in ("", "default") else ask.database
            connection.query("USE `{}`".format(name.replace("\\", "\\\\").replace("`", "\\`")))
            connection.query("SET readonly = 1")
        except RuntimeError as failure:
            connection.close()
            raise QueryFailed(str(failure)) from failure
        return connection

    def _passed(self, settings: Mapping[str, str]) -> dict[str, str]:
        kept = {}
        for name, value in settings.items():
            if not _SETTING.fullmatch(name) or name not in self._settings:
                raise http_guard.Refused(f"Setting {name[:100]} is neither a builtin setting nor started with the prefix "
                                         "'SQL_' registered for user-defined settings", 115, "UNKNOWN_SETTING")  # fmt: skip
            if name == "readonly" and value not in ("1", "2"):
                raise http_guard.Refused("Cannot modify 'readonly' setting in readonly mode.")
            if name in PASSED or (name.startswith("output_format_") and name != "output_format_schema"):
                kept[name] = value
        return kept


def _stream(connection: Any, text: str, chosen: str, parameters: dict[str, str]) -> Answer:
    stream = connection.send_query(text, chosen, params=parameters)
    rest = iter(stream)
    try:
        first = next(rest, None)  # most failures show here, while the status can still say so
    except RuntimeError:
        stream.close()
        raise
    return Answer(chosen, _chunks(first, rest), connection=connection, stream=stream)


def _chunks(first: Any, rest: Iterator[Any]) -> Iterator[bytes]:
    if first is not None:
        yield bytes(first.bytes())
    try:
        for chunk in rest:
            yield bytes(chunk.bytes())
    except RuntimeError as failure:
        raise QueryFailed(str(failure)) from failure


def _whole(connection: Any, text: str, chosen: str, parameters: dict[str, str]) -> Answer:
    result = connection.query(text, chosen, params=parameters)
    summary = {
        "read_rows": str(result.storage_rows_read()),
        "read_bytes": str(result.storage_bytes_read()),
        "result_rows": str(result.rows_read()),
        "result_bytes": str(result.size()),
        "elapsed_ns": str(int(result.elapsed() * 1e9)),
    }
    return Answer(chosen, iter((bytes(result.bytes()),)), summary, connection)


def _least(wished: str | None, limit: int) -> str:
    try:
        number = float(wished or 0)
    except ValueError:
        raise http_guard.Refused(
            f"Cannot parse {wished!r} as a number", 27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"
        ) from None
    return str(int(min(number, limit)) or 1) if number > 0 else str(limit)


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"


def _without_scope(message: str) -> str:
    """The message without the query that was only wrapped around the client's."""
    cut = message.find(": In scope SELECT formatQuery(")
    return message if cut < 0 else f"{message[:cut]} (SYNTAX_ERROR)"
