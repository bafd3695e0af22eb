"""Reading one log file: a read-only connection of one thread, which never blocks the writer nor is blocked by it.

The file may not exist yet (its process has never started): then every partition is empty. Rows are immutable, so the
last unpacked ones are kept for the next read, which begins in the middle of one, and where a process has several groups
(destinations), for those that read the same place a moment later.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from headwater.errors import OffsetOutOfRange
from headwater.log.keyed import keyed_record
from headwater.log.pack import unpack
from headwater.log.protocol import Batch, Bounds, Lag, Position, Record, TopicPartition
from headwater.log.sqlite_file import OFFSET_MASK, open_for_reading, refusal, row_id

# Of unpacked rows: where each is read once, those that are being committed, worked on and read (a lag is told from the
# committed position); and where several groups read them.
CACHE_BYTES = 12 << 20
SHARED_BYTES = 32 << 20
_ROW = "SELECT id, count, events_before, first_ms, body FROM batches"


class Extent(NamedTuple):
    """A partition as it is stored; `part` 0 when nothing was ever written."""

    part: int
    begin: int
    end: int
    events: int


class Need(NamedTuple):
    """What a group still has to read; offset None when it has never committed."""

    group: str
    tp: TopicPartition
    offset: int | None


class Reader:
    """Queries on one file. All calls must come from one thread."""

    def __init__(self, path: Path, cache_bytes: int = CACHE_BYTES) -> None:
        self.path, self._cache_bytes = path, cache_bytes
        self._connection: sqlite3.Connection | None = None
        self._rows: OrderedDict[int, list[Record]] = OrderedDict()
        self._cached_bytes = 0

    def close(self) -> None:
        """Release the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def version(self) -> int:
        """A number that changes when another connection commits; -1 while there is no file."""
        with self._snapshot() as connection:
            return -1 if connection is None else int(connection.execute("PRAGMA data_version").fetchone()[0])

    def bounds(self, tp: TopicPartition) -> Bounds:
        """First and next offset."""
        with self._snapshot() as connection:
            extent = _extent(connection, tp)
            return Bounds(extent.begin, extent.end)

    def read(self, tp: TopicPartition, offset: int, max_bytes: int, *, compacted: bool) -> Batch:
        """Records from `offset` on, at least one if there is one. Raises OffsetOutOfRange."""
        with self._snapshot() as connection:
            extent = _extent(connection, tp)
            if not extent.begin <= offset <= extent.end:
                raise OffsetOutOfRange(*tp, offset, extent.begin, extent.end)
            if connection is None or offset == extent.end:
                return Batch(*tp, [], offset)
            stored = (self._keyed if compacted else self._plain)(connection, extent, offset)
            taken, left = list[Record](), max_bytes
            for record in stored:
                left -= len(record.value or b"")
                if taken and left < 0:
                    return Batch(*tp, taken, taken[-1].offset + 1)
                taken.append(record)
            return Batch(*tp, taken, extent.end)

    def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """A group's stored position."""
        with self._snapshot() as connection:
            if connection is None:
                return None
            row = connection.execute(
                "SELECT offset, metadata FROM positions WHERE grp = ? AND topic = ? AND partition = ?",
                (group, *tp),
            ).fetchone()
        return None if row is None or row[0] is None else Position(*row)

    def lag(self, position: Position | None, tp: TopicPartition, *, compacted: bool) -> Lag:
        """How far the position is behind the partition's end."""
        with self._snapshot() as connection:
            extent = _extent(connection, tp)
            offset = position.offset if position else extent.begin
            first = max(offset, extent.begin)
            if connection is None or first >= extent.end:
                return Lag(tp, offset, extent.end, 0, 0)
            if compacted:
                events, oldest = connection.execute(
                    "SELECT coalesce(sum(events), 0), coalesce(min(ms), 0) FROM keyed WHERE id >= ? AND id < ?",
                    (row_id(extent.part, first), row_id(extent.part + 1, 0)),
                ).fetchone()
                return Lag(tp, offset, extent.end, events, oldest)
            row = next(_rows(connection, extent, first))
            behind = self._records(row)[: first - (row[0] & OFFSET_MASK)]
            unread = extent.events - row[2] - sum(record.events for record in behind)
            return Lag(tp, offset, extent.end, unread, self._records(row)[len(behind)].timestamp)

    def needs(self) -> list[Need] | None:
        """What every group registered in this file still has to read; None while there is no file."""
        with self._snapshot() as connection:
            if connection is None:
                return None
            rows = connection.execute("SELECT grp, topic, partition, offset FROM positions").fetchall()
        return [
            Need(group, TopicPartition(topic, partition), offset) for group, topic, partition, offset in rows
        ]

    def setting(self, name: str) -> object:
        """A setting stored in the file, or None."""
        with self._snapshot() as connection:
            if connection is None:
                return None
            row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection | None]:
        """The connection inside a read transaction, so that several statements see one state; None without a file."""
        if self._connection is None:
            self._connection = open_for_reading(self.path)
        connection = self._connection
        if connection is None:
            yield None
            return
        try:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise refusal(self.path, error, "see that the disk can be read") from error

    def _plain(self, connection: sqlite3.Connection, extent: Extent, offset: int) -> Iterator[Record]:
        for row in _rows(connection, extent, offset):
            records = self._records(row)
            yield from records[max(0, offset - (row[0] & OFFSET_MASK)) :]

    def _keyed(self, connection: sqlite3.Connection, extent: Extent, offset: int) -> Iterator[Record]:
        rows = connection.execute(
            "SELECT id, part, key, value, events, ms, checksum FROM keyed WHERE id >= ? AND id < ? ORDER BY id",
            (row_id(extent.part, offset), row_id(extent.part + 1, 0)),
        )
        return map(keyed_record, rows)

    def _records(self, row: tuple[int, int, int, int, bytes]) -> list[Record]:
        place, count, _, _, body = row
        if (cached := self._rows.get(place)) is not None:
            self._rows.move_to_end(place)
            return cached
        records = self._rows[place] = unpack(body, place, place & OFFSET_MASK, count)
        self._cached_bytes += _memory(records)
        while self._cached_bytes > self._cache_bytes and len(self._rows) > 1:
            self._cached_bytes -= _memory(self._rows.popitem(last=False)[1])
        return records


def _memory(records: Sequence[Record]) -> int:
    return sum(len(record.value or b"") for record in records) + 120 * len(records)


def _extent(connection: sqlite3.Connection | None, tp: TopicPartition) -> Extent:
    if connection is None:
        return Extent(0, 0, 0, 0)
    row = connection.execute(
        "SELECT id, begin, end, events FROM partitions WHERE topic = ? AND partition = ?", tp
    ).fetchone()
    return Extent(*row) if row else Extent(0, 0, 0, 0)


def _rows(
    connection: sqlite3.Connection, extent: Extent, offset: int
) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Rows from the one that holds `offset` on."""
    yield from connection.execute(
        f"{_ROW} WHERE id >= (SELECT max(id) FROM batches WHERE id >= ? AND id <= ?) AND id < ? ORDER BY id",
        (row_id(extent.part, 0), row_id(extent.part, offset), row_id(extent.part + 1, 0)),
    )
