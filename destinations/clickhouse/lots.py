"""What one flush inserts: rows of one table, how they are encoded, and how to tell which of them are already there.

Every row knows its place in the log, and the table stores it: that makes a repair after a crash exact, whatever the
engine's own deduplication remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from destinations.clickhouse import writer
from destinations.clickhouse.mapping import Place, Row

MAX_MONTHS = 60  # partitions touched by one insert; the engine refuses more than 100


class Placed(Protocol):
    """A row that knows its place in the log."""

    @property
    def place(self) -> Place:
        """Where in the log it stands."""
        ...


@dataclass(frozen=True, slots=True)
class JsonRow:
    """A row of a side table, already written as one JSON line."""

    place: Place
    data: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """One insert: an input format, its bytes, and the rows they hold."""

    format: str
    data: bytes
    rows: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is filled from the log."""

    name: str
    columns: tuple[str, ...]
    encode: Callable[[Sequence[Any]], list[Sent]]
    plain: Callable[[Sequence[Any]], Sent]
    identity: Callable[[Any], tuple[Any, ...]]
    identity_sql: str  # the same identity as an SQL tuple


@dataclass(frozen=True, slots=True)
class Lot:
    """Rows for one table."""

    table: Table
    rows: Sequence[Any]


def months(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Rows in groups that touch few monthly partitions each."""
    if len({row.cells[3] // 2_678_400_000 for row in rows}) <= MAX_MONTHS // 2:
        return [rows]
    by_month: dict[int, list[Row]] = {}
    for row in rows:
        by_month.setdefault(row.cells[3] // 2_678_400_000, []).append(row)
    # 31-day steps are at least calendar months, so a step touches two partitions at most
    ordered = [by_month[month] for month in sorted(by_month)]
    step = MAX_MONTHS // 2
    return [
        [row for group in ordered[at : at + step] for row in group] for at in range(0, len(ordered), step)
    ]


def _columnar(rows: Sequence[Row]) -> list[Sent]:
    return [Sent(*payload) for group in months(rows) for payload in writer.encode(group)]


def _as_text(rows: Sequence[Row]) -> list[Sent]:
    return [Sent(*writer.text(group)) for group in months(rows)]


def _event_identity(row: Row) -> tuple[Any, ...]:
    cells = row.cells
    return cells[0], cells[1], cells[3], cells[4], cells[5]


def events(*, columnar: bool) -> Table:
    """The event table."""
    return Table(
        "events",
        writer.EVENT_COLUMNS,
        _columnar if columnar else _as_text,
        lambda rows: Sent(*writer.text(rows)),
        _event_identity,
        "type, event, toUnixTimestamp64Milli(timestamp), source_id, message_id",
    )


def _lines(rows: Sequence[JsonRow]) -> Sent:
    return Sent("JSONEachRow", b"\n".join([row.data for row in rows]), rows)


def side(name: str, columns: Sequence[str]) -> Table:
    """A table of JSON rows whose identity is the place alone."""
    return Table(
        name,
        tuple(columns),
        lambda rows: [_lines(rows)],
        _lines,
        lambda row: tuple(row.place),
        "log_partition, log_offset, log_line",
    )
