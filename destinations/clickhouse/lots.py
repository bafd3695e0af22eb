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
_STEP_MS = 31 * 86_400_000


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
    """One insert: an input format, its bytes, the rows they hold, and which months (31 days each) those touch."""

    format: str
    data: bytes
    rows: Sequence[Any]
    months: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is filled from the log."""

    name: str
    columns: tuple[str, ...]
    encode: Callable[[Sequence[Any]], list[Sent]]
    plain: Callable[[Sequence[Any]], Sent]
    identity: Callable[[Any], tuple[Any, ...]]
    identity_sql: str  # the same identity as an SQL tuple
    placed: bool = True  # whether it has columns for the place; else its rows replace one another


@dataclass(frozen=True, slots=True)
class Lot:
    """Rows for one table; `sent` where they were encoded beforehand."""

    table: Table
    rows: Sequence[Any]
    sent: Sequence[Sent] | None = None

    def inserts(self) -> Sequence[Sent]:
        """What is to be inserted, every row once."""
        return self.table.encode(self.rows) if self.sent is None else self.sent


Lost = list[tuple[Any, Exception]]  # rows that cannot be encoded, and why
_Way = Callable[[Sequence[Any]], list[Sent]]


def encoded(table: Table, rows: Sequence[Any], lost: Lost) -> list[Sent]:
    """Inserts of rows. A row that can be encoded neither as usual nor plainly, not even alone, is `lost`."""
    return _by_halves(rows, table.encode, lambda some: [table.plain(some)], lost)


def again(table: Table, rows: Sequence[Any]) -> list[Sent]:
    """The same rows plainly; what that cannot carry goes as it was encoded at first."""
    lost: Lost = []
    sent = _by_halves(rows, lambda some: [table.plain(some)], table.encode, lost)
    for _, error in lost:
        raise error  # it was encoded before: nothing is wrong with the row
    return sent


def _by_halves(rows: Sequence[Any], way: _Way, other: _Way, lost: Lost) -> list[Sent]:
    try:
        return way(rows)
    except MemoryError:
        raise  # says nothing about the rows
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a row, its neighbours go on
        if len(rows) == 1 and way is other:
            lost.append((rows[0], error))
            return []
    if len(rows) == 1:
        return _by_halves(rows, other, other, lost)
    halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    return [sent for half in halves for sent in _by_halves(half, way, other, lost)]


def months_of(rows: Sequence[Row]) -> frozenset[int]:
    """The 31-day steps that the rows touch: at least calendar months, so a step touches two partitions at most."""
    return frozenset([row.happened_ms // _STEP_MS for row in rows])


def months(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Rows in groups that touch few monthly partitions each."""
    step = MAX_MONTHS // 2
    if len(months_of(rows)) <= step:
        return [rows]
    by_month: dict[int, list[Row]] = {}
    for row in rows:
        by_month.setdefault(row.happened_ms // _STEP_MS, []).append(row)
    ordered = [by_month[month] for month in sorted(by_month)]
    return [
        [row for group in ordered[at : at + step] for row in group] for at in range(0, len(ordered), step)
    ]


def _columnar(rows: Sequence[Row]) -> list[Sent]:
    return [
        Sent(*payload, months_of(payload.rows)) for group in months(rows) for payload in writer.encode(group)
    ]


def _as_text(rows: Sequence[Row]) -> list[Sent]:
    return [Sent(*writer.text(group), months_of(group)) for group in months(rows)]


def _event_identity(row: Row) -> tuple[Any, ...]:
    event = row.event
    return event.type, row.event_name, row.happened_ms, event.source_id, event.message_id


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


def side(name: str, columns: Sequence[str], *, placed: bool = True) -> Table:
    """A table of JSON rows whose identity is the place alone; without a place its rows are inserted again and again."""
    return Table(
        name,
        tuple(columns),
        lambda rows: [_lines(rows)],
        _lines,
        lambda row: tuple(row.place),
        "log_partition, log_offset, log_line",
        placed,
    )
