"""The writer of one log file: a thread that commits, in one sync, everything that queued up during the last one."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar, cast

from headwater.clock import Clock
from headwater.errors import HeadwaterError, LogUnavailable
from headwater.log.protocol import TopicPartition
from headwater.log.sqlite_file import concerns_the_file, open_for_writing, refusal
from headwater.log.sqlite_sheet import Head, Sheet

T = TypeVar("T")
_log = logging.getLogger(__name__)

CHECKPOINT_BYTES = 4 << 20  # of packed rows between checkpoints
WAL_PAGES = 32_768  # past 128 MB of log, wait for readers so that it can start over
RESTART_S = 30.0  # a reader that stays is a backup: writers are not kept waiting for it again and again


@dataclass(slots=True)
class Job(Generic[T]):
    """Something to write, and whom to tell."""

    run: Callable[[Sheet], T]
    size: int
    future: asyncio.Future[T]
    topics: frozenset[str]


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
        self._restart_at = float("-inf")
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
        except Exception as error:  # noqa: BLE001 - told to the callers
            self._roll_back()
            if concerns_the_file(error):
                failure = refusal(
                    self.path, cast("sqlite3.Error", error), "nothing was acknowledged, free disk space"
                )
                self._loop_do(self._answer, [(job, failure) for job in jobs])
            elif len(jobs) == 1:
                self._loop_do(self._answer, [(jobs[0], error)])
            else:  # one job's mistake is that job's alone: try each by itself
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
            now = self._clock.monotonic()
            if rows and rows[0][1] > WAL_PAGES and now >= self._restart_at:
                busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                self._restart_at = now + RESTART_S if busy else now
        except sqlite3.Error as error:
            _log.warning("%s: checkpoint failed, it will be tried again: %s", self.path, error)
