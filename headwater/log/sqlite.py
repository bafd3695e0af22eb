"""The log of one machine: SQLite files, one per writing process, the durable default.

A process opens its own file for writing (an flock keeps a second writer out) and the others' for reading. Reads run in
one thread of their own, writes in one thread per written file; the event loop only waits. Group members live in the
process that stores the group's positions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from headwater.clock import Clock
from headwater.errors import LogError, LogUnavailable
from headwater.log import sqlite_jobs
from headwater.log.age import AgeClock
from headwater.log.groups import Group, Member
from headwater.log.lock import FileLock
from headwater.log.notify import Bell, Ear
from headwater.log.owner import Claim, GatheredTransaction
from headwater.log.protocol import (
    Batch,
    Bounds,
    Consumer,
    Entry,
    Lag,
    Listener,
    Owner,
    Position,
    Record,
    TopicPartition,
)
from headwater.log.retention import DAY_S, Policy, Trimmed, floor_of, trim
from headwater.log.signals import Signals
from headwater.log.sqlite_copy import pinned
from headwater.log.sqlite_file import sync
from headwater.log.sqlite_reader import CACHE_BYTES, SHARED_BYTES, Reader
from headwater.log.sqlite_sheet import Sheet
from headwater.log.sqlite_writer import Committer
from headwater.log.topics import Writer, group_writer, spec_of
from headwater.paths import DataDir

T = TypeVar("T")
_log = logging.getLogger(__name__)

WRITERS: tuple[Writer, ...] = ("collector", "processor", "destinations")
QUEUE_BYTES = 64 << 20  # of values waiting for the disk, per file
POLL_S = 1.0  # how late a reader may hear of a write when its wake-up was lost
TRIM_S = 60.0
KEEP = Policy(7 * DAY_S)


class SqliteLog:
    """A `Log` on SQLite (see `headwater.log.protocol.Log`)."""

    def __init__(
        self,
        data: DataDir,
        clock: Clock,
        *,
        writers: Collection[Writer] = (),
        partitions: int = 1,
        policy: Callable[[], Policy] = lambda: KEEP,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        """`writers` are the files this process writes, none for a reader; `policy` is asked at each trimming."""
        self._data, self._clock, self._count = data, clock, partitions
        self._writers, self._policy, self._queue_bytes = frozenset(writers), policy, queue_bytes
        self._signals = Signals()
        cache = SHARED_BYTES if "destinations" in self._writers else CACHE_BYTES
        self._readers = {name: Reader(self._path(name), cache) for name in WRITERS}
        self._thread = ThreadPoolExecutor(1, "log-reader")
        self._open: dict[Writer, Committer] = {}
        self._ages = {name: AgeClock(clock, name) for name in writers}
        self._groups: dict[str, Group] = {}
        self._topics: dict[Writer, set[str]] = {
            name: set() for name in WRITERS
        }  # slept on, written by others
        self._versions: dict[Writer, int] = {}
        self._too_large: set[Writer] = set()  # files over their bound of which that was said
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Open. Raises AlreadyRunning, LogUnavailable, or LogError for files made for another number of partitions."""
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._thread.shutdown)
            for reader in self._readers.values():
                stack.push_async_callback(self._reading, reader.close)
            for name in sorted(self._writers):
                await self._open_writer(name, stack)
            await self._check_partitions()
            for name in WRITERS:
                if name not in self._writers:
                    self._listen(name, stack)
            self._versions = {name: await self._version(name) for name in WRITERS}
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Leave every group, write what is queued, close."""
        for group in self._groups.values():
            for member in list(group.members):
                await member.close()
        await self._stack.aclose()

    @property
    def signals(self) -> Signals:
        """Where writes are announced."""
        return self._signals

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return spec_of(topic, self._count).partitions

    async def append(self, entries: Sequence[Entry]) -> None:
        """Write records; returns once all of them are durable. Raises LogUnavailable."""
        by_file: dict[Writer, list[Entry]] = {}
        for entry in entries:
            by_file.setdefault(self._checked(entry), []).append(entry)
        jobs = [
            self._committer(name).do(partial(self._write, some), *_cost(some))
            for name, some in by_file.items()
        ]
        await asyncio.gather(*jobs)

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener | None = None) -> Consumer:
        """Join a group; what it has yet to read is kept from now on."""
        await self.register(group, [TopicPartition(t, n) for t in topics for n in range(self.partitions(t))])
        joined = self._groups.setdefault(group, Group(group))
        member = Member(joined, self, topics, listener)
        await joined.join(member)
        return member

    async def claim(self, group: str, tp: TopicPartition) -> Owner:
        """Own `tp` for `group`; every earlier owner's commits raise Fenced from now on."""
        self._known(tp)
        epoch = await self._committer(group_writer(group)).do(partial(sqlite_jobs.claim, group, tp))
        return Claim(self, group, tp, epoch)

    async def bounds(self, tp: TopicPartition) -> Bounds:
        """First and next offset of the partition."""
        self.signals.look(tp)
        return await self._reading(self._reader(tp).bounds, tp)

    async def read(self, tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        """Committed records from `offset` on; empty at the end. Raises OffsetOutOfRange or Corrupt."""
        self.signals.look(tp)
        compacted = spec_of(tp.topic, self._count).compacted
        return await self._reading(partial(self._reader(tp).read, tp, offset, max_bytes, compacted=compacted))

    async def wait(self, topics: Sequence[str], seconds: float) -> bool:
        """Sleep until something may have been written to one of the topics (True) or the time is over (False)."""
        self.attend(topics)
        return await self._signals.wait(topics, seconds)

    async def lag(self, group: str, topics: Sequence[str]) -> list[Lag]:
        """How far a group is behind, per partition."""
        return [
            await self._lag(group, TopicPartition(topic, n))
            for topic in topics
            for n in range(self.partitions(topic))
        ]

    async def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """A group's stored position."""
        return await self._reading(self._readers[group_writer(group)].committed, group, tp)

    async def store(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Store a group's positions durably. Raises LogUnavailable."""
        held = dict(positions)
        await self._committer(group_writer(group)).do(lambda sheet: sheet.advance(group, held))

    async def register(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        """Keep, from now on, what the group has yet to read there. A log opened for reading registers nothing."""
        self.attend(list({tp.topic for tp in partitions}))
        if (committer := self._open.get(group_writer(group))) is not None:
            await committer.do(partial(sqlite_jobs.register, group, list(partitions)))

    async def forget_group(self, group: str) -> None:
        """Remove a group for good (a destination taken out of the workspace): nothing is kept for it any longer."""
        await self._committer(group_writer(group)).do(partial(sqlite_jobs.forget, group))

    async def trim(self) -> int:
        """Remove what retention allows from the files this process writes; how many rows went."""
        needs = {name: await self._reading(reader.needs) for name, reader in self._readers.items()}
        policy = self._policy()
        floor, total = floor_of(needs, policy.destinations), 0
        for name, committer in self._open.items():
            step = Trimmed(0, more=True)
            while step.more:
                step = await committer.do(partial(trim, floor=floor, policy=policy, ages=self._ages[name]))
                total += step.rows
            self._tell_of_size(name, step.surplus, policy)
        return total

    def _tell_of_size(self, name: Writer, surplus: int, policy: Policy) -> None:
        """Say, once each time it happens, that a file could not be brought below its bound."""
        if surplus <= 0:
            self._too_large.discard(name)
        elif name not in self._too_large:
            self._too_large.add(name)
            _log.warning(
                "%s.db is %d bytes larger than log.retention_bytes (%d) and nothing more may go: the rest has not been read "
                "by everyone, or the dedupe window needs it; raise the bound, shorten processors.dedupe.window_days, or see "
                "with `headwater status` who is behind", name, surplus, policy.max_bytes,
            )  # fmt: skip

    async def backup(self, folder: Path) -> list[Path]:
        """Copy every file, while all of them are in use, to a folder that holds none yet; the files made.

        All are pinned first, those whose positions refer to another before it, so that no position is ahead of its log.
        """
        return await asyncio.to_thread(_back_up, self._data.log, folder)

    def attend(self, topics: Sequence[str]) -> None:
        """Wake sleepers on these topics when another process writes them."""
        for topic in topics:
            name = spec_of(topic, self._count).writer
            if name not in self._writers:
                self._topics[name].add(topic)

    def check_output(self, group: str, tp: TopicPartition) -> None:
        """Raises ValueError for a topic that is not in the file of the group's positions: it could not be atomic."""
        self._known(tp)
        if (theirs := spec_of(tp.topic, self._count).writer) != (ours := group_writer(group)):
            raise ValueError(
                f"a transaction of group {group!r} writes {ours}.db; topic {tp.topic} is in {theirs}.db"
            )

    async def commit_transaction(self, transaction: GatheredTransaction) -> dict[TopicPartition, int]:
        """Apply outputs and positions in one SQL transaction. Raises Fenced or LogUnavailable."""
        for entry in transaction.entries:
            self._checked(entry)
        committer = self._committer(group_writer(transaction.claim.group))
        return await committer.do(partial(self._apply, transaction), *_cost(transaction.entries))

    def _apply(self, transaction: GatheredTransaction, sheet: Sheet) -> dict[TopicPartition, int]:
        claim = transaction.claim
        claim.check(sheet.epoch(claim.group, claim.tp))
        sheet.advance(claim.group, transaction.positions)
        return self._write(transaction.entries, sheet)

    def _write(self, entries: Sequence[Entry], sheet: Sheet) -> dict[TopicPartition, int]:
        by_partition: dict[TopicPartition, list[Record]] = {}
        for topic, number, record in entries:
            by_partition.setdefault(TopicPartition(topic, number), []).append(record)
        return {
            tp: sheet.append(tp, records, compacted=spec_of(tp.topic, self._count).compacted)
            for tp, records in by_partition.items()
        }

    async def _lag(self, group: str, tp: TopicPartition) -> Lag:
        position = await self.committed(group, tp)
        compacted = spec_of(tp.topic, self._count).compacted
        return await self._reading(partial(self._reader(tp).lag, position, tp, compacted=compacted))

    async def _open_writer(self, name: Writer, stack: contextlib.AsyncExitStack) -> None:
        lock = FileLock(self._path(name).with_suffix(".lock"), name)
        try:
            self._data.make()
            lock.acquire()
        except OSError as error:
            raise LogUnavailable(
                f"{self._data.root}: cannot be written: {error}; run as its owner"
            ) from error
        stack.callback(lock.release)
        bell = Bell(self._bells(name))
        stack.callback(bell.close)
        committer = Committer(
            self._path(name),
            self._clock,
            committed=bell.ring,
            announce=self._signals.bump,
            max_bytes=self._queue_bytes,
        )
        stack.push_async_callback(committer.close)
        self._open[name] = committer

    async def _check_partitions(self) -> None:
        for name, committer in self._open.items():
            stored = await committer.do(partial(sqlite_jobs.settle_partitions, self._count))
            if stored != self._count:
                raise LogError(
                    f"{self._path(name)}: holds events in {stored} partitions, log.partitions says {self._count}; "
                    f"set it back to {stored}, or start with an empty --dir"
                )

    def _listen(self, name: Writer, stack: contextlib.AsyncExitStack) -> None:
        ear = Ear(self._bells(name), lambda: self._signals.bump(self._topics[name]))
        ear.open()
        stack.callback(ear.close)

    def _start(self, stack: contextlib.AsyncExitStack) -> None:
        self._tasks = [asyncio.create_task(self._poll(), name="log-poll")]
        if self._open:
            self._tasks.append(asyncio.create_task(self._retain(), name="log-retention"))
        stack.push_async_callback(self._stop)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _poll(self) -> None:
        """Notice writes whose wake-up was lost (a cleared `run` folder, another user's, another container's)."""
        while True:
            await asyncio.sleep(POLL_S)
            for name, topics in self._topics.items():
                if topics and (version := await self._version(name)) != self._versions[name]:
                    self._versions[name] = version
                    self._signals.bump(topics)

    async def _version(self, name: Writer) -> int:
        try:
            return await self._reading(self._readers[name].version)
        except LogError as error:
            if self._versions.get(name) != -1:  # once, not every second
                _log.warning("%s.db cannot be read, trying again: %s", name, error)
            return -1

    async def _retain(self) -> None:
        while True:
            await asyncio.sleep(TRIM_S)
            try:
                await self.trim()
            except LogError as error:
                _log.warning("retention could not run, trying again in %.0f s: %s", TRIM_S, error)

    async def _reading(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    def _checked(self, entry: Entry) -> Writer:
        """The file of an entry. Raises ValueError for one that cannot be stored."""
        self._known(TopicPartition(entry.topic, entry.partition))
        spec = spec_of(entry.topic, self._count)
        if spec.compacted and entry.record.key is None:
            raise ValueError(f"topic {entry.topic} is compacted: a record needs a key")
        if not spec.compacted and entry.record.value is None:
            raise ValueError(f"topic {entry.topic} is not compacted: a record needs a value")
        return spec.writer

    def _known(self, tp: TopicPartition) -> None:
        if not 0 <= tp.partition < (have := self.partitions(tp.topic)):
            raise ValueError(
                f"{tp.topic} has partitions 0 to {have - 1}, not {tp.partition}; see log.partitions"
            )

    def _committer(self, name: Writer) -> Committer:
        if (committer := self._open.get(name)) is None:
            ours = ", ".join(sorted(self._open)) or "none"
            raise LogError(
                f"{name}.db is written by the {name} process alone; this log was opened to write {ours}"
            )
        return committer

    def _reader(self, tp: TopicPartition) -> Reader:
        self._known(tp)
        return self._readers[spec_of(tp.topic, self._count).writer]

    def _path(self, name: str) -> Path:
        return self._data.log / f"{name}.db"

    def _bells(self, name: Writer) -> Path:
        return self._data.run / "wake" / name


def _cost(entries: Sequence[Entry]) -> tuple[int, frozenset[str]]:
    """Bytes that wait for the disk, and the topics to announce."""
    size = sum(len(entry.record.value or b"") + 64 for entry in entries)
    return size, frozenset(entry.topic for entry in entries)


def _back_up(source: Path, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with pinned(source) as files:
        for one in files:
            one.copy(folder / one.path.name)
        made = [folder / one.path.name for one in files]
    sync(folder)
    return made
