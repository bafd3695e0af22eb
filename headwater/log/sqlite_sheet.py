"""One SQL transaction in the making: jobs write on a `Sheet`, appended records are packed into rows when it is closed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from headwater.log.keyed import KeyedRow, keyed_row
from headwater.log.pack import pack
from headwater.log.protocol import Position, Record, TopicPartition
from headwater.log.sqlite_file import PAGE_BYTES, row_id

ROW_BYTES = 1 << 20  # of values in one row: a reader unpacks whole rows
ROW_RECORDS = 4096
_ROWS = 64  # in one INSERT


class Head(Struct):
    """Where a partition's next record goes."""

    part: int
    end: int
    events: int


class Sheet:
    """One SQL transaction: appended records are gathered per partition and packed when it is closed."""

    def __init__(
        self, connection: sqlite3.Connection, heads: dict[TopicPartition, Head], now_ms: int
    ) -> None:
        self.connection, self.now_ms = connection, now_ms
        self._heads = heads
        self._plain: dict[TopicPartition, list[Record]] = {}
        self._keyed: dict[TopicPartition, list[Record]] = {}
        self.written_bytes = 0
        self._free_pages = 0

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Run a statement inside the transaction."""
        self._begin()
        return self.connection.execute(statement, values).fetchall()

    def append(self, tp: TopicPartition, records: Iterable[Record], *, compacted: bool = False) -> int:
        """Add records to a partition; the offset after them."""
        rows = (self._keyed if compacted else self._plain).setdefault(tp, [])
        rows.extend(records)
        return self._head(tp).end + len(rows)

    def advance(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Store a group's positions."""
        self._begin()
        self.connection.executemany(
            "INSERT INTO positions (grp, topic, partition, offset, metadata) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET offset = excluded.offset, metadata = excluded.metadata",
            [(group, *tp, *position) for tp, position in positions.items()],
        )

    def epoch(self, group: str, tp: TopicPartition) -> int:
        """The newest claim's epoch; 0 where there is none."""
        rows = self.connection.execute(
            "SELECT epoch FROM claims WHERE grp = ? AND topic = ? AND partition = ?", (group, *tp)
        ).fetchall()
        return cast("int", rows[0][0]) if rows else 0

    def give_back(self, pages: int) -> None:
        """After the commit, return so many free pages to the disk (the next checkpoint shortens the file)."""
        self._free_pages += pages
        self.written_bytes += pages * PAGE_BYTES

    def close(self) -> None:
        """Pack what was gathered and commit."""
        rows = [row for tp, records in self._plain.items() for row in self._pack(tp, records)]
        keyed = [row for tp, records in self._keyed.items() for row in self._key(tp, records)]
        # The usual commit is one statement, without BEGIN and COMMIT: see _insert.
        if len(rows) > 1 or keyed:
            self._begin()
        self._insert("INSERT INTO batches (id, count, events, events_before, first_ms, last_ms, body)", rows)
        if keyed:
            self._store_keyed(keyed)
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")
        if self._free_pages:
            # By itself: the module steps a statement without columns only once, except in a script.
            self.connection.executescript(f"PRAGMA incremental_vacuum({self._free_pages})")

    def _insert(self, into: str, rows: Sequence[Sequence[object]]) -> None:
        """Many rows in each statement: each lets go of the interpreter lock, and a busy thread is slow to hand it back."""
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            places = ", ".join(["(" + ", ".join("?" * len(some[0])) + ")"] * len(some))
            self.connection.execute(f"{into} VALUES {places}", [value for row in some for value in row])

    def _begin(self) -> None:
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN IMMEDIATE")

    def _head(self, tp: TopicPartition) -> Head:
        if (head := self._heads.get(tp)) is None:
            self.execute("INSERT OR IGNORE INTO partitions (topic, partition) VALUES (?, ?)", tp)
            rows = self.execute(
                "SELECT id, end, events FROM partitions WHERE topic = ? AND partition = ?", tp
            )
            head = self._heads[tp] = Head(*cast("tuple[int, int, int]", rows[0]))
        return head

    def _pack(self, tp: TopicPartition, records: Sequence[Record]) -> list[tuple[object, ...]]:
        head, rows = self._head(tp), list[tuple[object, ...]]()
        for chunk in chunks(records):
            place = row_id(head.part, head.end)
            stamps = [record.timestamp or self.now_ms for record in chunk]
            events = sum(record.events for record in chunk)
            body = pack(chunk, stamps, place)
            rows.append((place, len(chunk), events, head.events, stamps[0], max(stamps), body))
            head.end += len(chunk)
            head.events += events
            self.written_bytes += len(body)
        return rows

    def _key(self, tp: TopicPartition, records: Sequence[Record]) -> list[KeyedRow]:
        head = self._head(tp)
        last = {record.key: (offset, record) for offset, record in enumerate(records, head.end)}
        head.end += len(records)
        head.events += sum(record.events for record in records)
        self.written_bytes += sum(len(record.value or b"") for _, record in last.values())
        return [
            keyed_row(head.part, replace(record, offset=offset, timestamp=record.timestamp or self.now_ms))
            for offset, record in last.values()
        ]

    def _store_keyed(self, rows: Sequence[KeyedRow]) -> None:
        self._insert("INSERT OR REPLACE INTO keyed (id, part, key, value, events, ms, checksum)", rows)
        self.connection.executemany(
            "UPDATE partitions SET end = ?, events = ? WHERE id = ?",
            [(head.end, head.events, head.part) for head in map(self._head, self._keyed)],
        )


def chunks(records: Sequence[Record]) -> list[Sequence[Record]]:
    """Records in rows of at most ROW_RECORDS and about ROW_BYTES, at least one in each."""
    found: list[Sequence[Record]] = []
    start = size = 0
    for index, record in enumerate(records):
        held = len(record.value or b"")
        if index > start and (size + held > ROW_BYTES or index - start >= ROW_RECORDS):
            found.append(records[start:index])
            start, size = index, 0
        size += held
    return [*found, records[start:]]
