"""The writer of one log file: a thread that commits, in one sync, everything that queued up during the last one.

`Sheet` is one SQL transaction in the making: jobs write on it, rows are packed when it is closed. `Committer` owns the
thread, the queue and the answers.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from headwater.clock import Clock
from headwater.errors import Corrupt, HeadwaterError, LogUnavailable
from headwater.log.keyed import KeyedRow, keyed_row
from headwater.log.pack import pack
from headwater.log.protocol import Position, Record, TopicPartition
from headwater.log.sqlite_file import open_for_writing, row_id

T = TypeVar("T")
_log = logging.getLogger(__name__)

ROW_BYTES = 1 << 20  # of values in one row: a reader unpacks whole rows
ROW_RECORDS = 4096
CHECKPOINT_BYTES = 4 << 20  # of packed rows between checkpoints
WAL_PAGES = 32_768  # past 128 MB of log, wait for readers so that it can start over


class Head(Struct):
    """Where a partition's next record goes."""

    part: int
    end: int
    events: int


@dataclass(slots=True)
class Job(Generic[T]):
    """Something to write, and whom to tell."""

    run: Callable[[Sheet], T]
    size: int
    future: asyncio.Future[T]
    topics: frozenset[str]


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
        self.written_bytes += CHECKPOINT_BYTES

    def close(self) -> None:
        """Pack what was gathered and commit."""
        rows = [row for tp, records in self._plain.items() for row in self._pack(tp, records)]
        keyed = [row for tp, records in self._keyed.items() for row in self._key(tp, records)]
        # One statement for the usual commit: each statement lets go of the interpreter lock, and a busy event loop may
        # take its time to hand it back.
        if len(rows) > 1 or keyed:
            self._begin()
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            places = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(some))
            self.connection.execute(
                f"INSERT INTO batches (id, count, events, events_before, first_ms, last_ms, body) VALUES {places}",
                [value for row in some for value in row],
            )
        if keyed:
            self._store_keyed(keyed)
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")
        if self._free_pages:
            # By itself: the module steps a statement without columns only once, except in a script.
            self.connection.executescript(f"PRAGMA incremental_vacuum({self._free_pages})")

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

    def _stamped(self, head: Head, records: Sequence[Record]) -> list[Record]:
        return [
            replace(record, offset=head.end + index, timestamp=record.timestamp or self.now_ms)
            for index, record in enumerate(records)
        ]

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
        last = {record.key: record for record in self._stamped(head, records)}
        head.end += len(records)
        head.events += sum(record.events for record in records)
        self.written_bytes += sum(len(record.value or b"") for record in last.values())
        return [keyed_row(head.part, record) for record in last.values()]

    def _store_keyed(self, rows: Sequence[KeyedRow]) -> None:
        self.connection.executemany(
            "INSERT OR REPLACE INTO keyed (id, part, key, value, events, ms, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
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


@dataclass(slots=True)
class _Queue:
    """Jobs that wait for the thread."""

    jobs: deque[Job[object]] = field(default_factory=deque)
    bytes: int = 0
    closing: bool = False


class Committer:
    """The thread that writes one file. Made, asked and closed from one event loop."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        committed: Callable[[], None],
        announce: Callable[[frozenset[str]], None],
        max_bytes: int,
    ) -> None:
        """`committed` is called in the thread after each commit, `announce` in the loop with the topics written."""
        self.path = path
        self._clock, self._committed, self._announce, self._max_bytes = clock, committed, announce, max_bytes
        self._queue = _Queue()
        self._ready = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._connection = open_for_writing(path)
        self._heads: dict[TopicPartition, Head] = {}
        self._unsaved = 0
        self._thread = threading.Thread(target=self._work, name=f"log-{path.stem}", daemon=True)
        self._thread.start()

    async def do(self, run: Callable[[Sheet], T], size: int = 0, topics: frozenset[str] = frozenset()) -> T:
        """Run a job in the next commit and return what it returned, once that is durable.

        Raises LogUnavailable when the queue is full or the disk refuses, and whatever the job raises.
        """
        job = Job(run, size, self._loop.create_future(), topics)
        with self._ready:
            if self._queue.closing:
                raise LogUnavailable(f"{self.path.name} is closing; nothing more is taken")
            if self._queue.jobs and self._queue.bytes + size > self._max_bytes:
                raise LogUnavailable(
                    f"{self.path.name}: {self._queue.bytes} bytes wait to be written, {self._max_bytes} are allowed; "
                    "the disk is slower than the events come, try again"
                )
            self._queue.jobs.append(cast("Job[object]", job))
            self._queue.bytes += size
            self._ready.notify()
        answer: T = await job.future
        return answer

    async def close(self) -> None:
        """Write what is queued, then let the thread end."""
        with self._ready:
            self._queue.closing = True
            self._ready.notify()
        await self._loop.run_in_executor(None, self._thread.join)

    def _work(self) -> None:
        while jobs := self._take():
            self._write(jobs)
            if self._unsaved > CHECKPOINT_BYTES:
                self.checkpoint()
        self.checkpoint("TRUNCATE")  # so that the file is whole by itself while nothing runs
        self._connection.close()

    def _take(self) -> list[Job[object]]:
        with self._ready:
            self._ready.wait_for(lambda: self._queue.jobs or self._queue.closing)
            jobs = list(self._queue.jobs)
            self._queue.jobs.clear()
            self._queue.bytes = 0
        return jobs

    def _write(self, jobs: list[Job[object]]) -> None:
        try:
            answers = self._commit(jobs)
        except sqlite3.Error as error:
            self._roll_back()
            failure = unavailable(self.path, error)
            self._loop_do(self._answer, [(job, failure) for job in jobs])
        except Exception as error:  # noqa: BLE001 - one job's mistake is that job's alone: try the others by themselves
            self._roll_back()
            if len(jobs) == 1:
                self._loop_do(self._answer, [(jobs[0], error)])
            else:
                for job in jobs:
                    self._write([job])
        else:
            self._committed()
            self._loop_do(self._answer, answers)

    def _commit(self, jobs: list[Job[object]]) -> list[tuple[Job[object], object]]:
        sheet = Sheet(self._connection, self._heads, self._clock.now_ms())
        answers: list[tuple[Job[object], object]] = []
        for job in jobs:
            try:
                answers.append((job, job.run(sheet)))
            except HeadwaterError as refused:  # fenced: found out before it wrote anything
                answers.append((job, refused))
        sheet.close()
        self._unsaved += sheet.written_bytes + 64 * len(jobs)
        return answers

    def _roll_back(self) -> None:
        self._heads.clear()
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            _log.error("%s: cannot roll back: %s", self.path, error)

    def _answer(self, answers: Sequence[tuple[Job[object], object]]) -> None:
        topics = frozenset[str]().union(
            *(job.topics for job, answer in answers if not isinstance(answer, Exception))
        )
        if topics:
            self._announce(topics)
        for job, answer in answers:
            if job.future.done():
                continue
            if isinstance(answer, Exception):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)

    def _loop_do(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop has ended without waiting for us: nobody is left to be told
            _log.warning("%s: the event loop ended before its last writes were answered", self.path.name)

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """Move the write-ahead log into the file; called in the thread, after the callers were answered."""
        self._unsaved = 0
        try:
            rows = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            if rows and rows[0][1] > WAL_PAGES:
                self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        except sqlite3.Error as error:
            _log.warning("%s: checkpoint failed, it will be tried again: %s", self.path, error)


def unavailable(path: Path, error: sqlite3.Error) -> Exception:
    """What a caller is told when SQLite refuses."""
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Corrupt(f"{path}: {error} ({name}); restore it from a backup")
    return LogUnavailable(
        f"{path}: {error} ({name}); nothing was acknowledged, free disk space and it goes on by itself"
    )
