"""How the contract suite opens, kills and reopens a log, for each implementation."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from headwater.clock import ManualClock
from headwater.log.kafka import KafkaLog
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Log, Record, TopicPartition
from headwater.log.retention import Policy
from headwater.log.spool import SpooledLog
from headwater.log.spool_folder import Folder
from headwater.log.spool_store import Store
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.topics import ACCEPTED, PROCESSED, PROFILES
from headwater.paths import DataDir
from headwater.workspace.model import KafkaLogSettings

PARTITIONS = 2
AGES_S = 100 * 365 * 86_400
IN = TopicPartition(ACCEPTED, 0)
OUT = TopicPartition(PROCESSED, 0)
ROWS = TopicPartition(PROFILES, 0)


class Harness(Protocol):
    """One log whose process can be killed."""

    clock: ManualClock

    async def open(self) -> Log:
        """Start the log on what is stored."""
        ...

    async def crash(self) -> None:
        """Kill it, at once, with whatever is under way."""
        ...

    async def close(self) -> None:
        """Close it as a process that ends by itself does."""
        ...


class MemoryHarness:
    """The log in memory."""

    def __init__(self, _folder: Path) -> None:
        self.clock = ManualClock()
        self.log = MemoryLog(PARTITIONS, self.clock)

    async def open(self) -> Log:
        """Start the log on what is stored."""
        self.log = self.log.reopen()
        return await self.log.__aenter__()

    async def crash(self) -> None:
        """Kill it."""
        await self.log.crash()

    async def close(self) -> None:
        """Close it."""
        await self.log.__aexit__()


class SqliteHarness:
    """The SQLite log writing all its files. A crash is what the files hold at that instant, copied elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self._folder, self._lives = folder, 0
        self.data = DataDir(folder / "0")
        self.log: SqliteLog | None = None

    async def open(self) -> Log:
        """Start the log on what is stored."""
        self.log = SqliteLog(self.data, self.clock, writers=WRITERS, partitions=PARTITIONS)
        return await self.log.__aenter__()

    async def crash(self) -> None:
        """Take the files as they are, without what only lives in memory, and let the old log run out unseen."""
        self._lives += 1
        old, self.data = self.data, DataDir(self._folder / str(self._lives)).make()
        for file in sorted(old.log.iterdir()):
            if file.name.endswith((".db", "-wal")):
                shutil.copyfile(file, self.data.log / file.name)
        await self.close()
        await asyncio.to_thread(shutil.rmtree, old.root)

    async def close(self) -> None:
        """Close it."""
        if self.log is not None:
            await self.log.__aexit__()
            self.log = None


class KafkaHarness:
    """The log on a real broker, which goes on running. A crash closes every socket without a word."""

    def __init__(self, bootstrap: str) -> None:
        self.clock = ManualClock()
        self.settings = KafkaLogSettings(
            brokers=[bootstrap],
            partitions=PARTITIONS,
            replication=1,
            min_insync_replicas=1,
            topic_prefix=f"t{uuid.uuid4().hex[:10]}.",
        )
        self.log: KafkaLog | None = None

    async def open(self) -> Log:
        """Start the log on what is stored; records of 1970 are kept, as other logs would."""
        self.log = KafkaLog(self.settings, self.clock, policy=lambda: Policy(AGES_S, folded_s=AGES_S))
        return await self.log.__aenter__()

    async def crash(self) -> None:
        """Close the sockets: no group is left, nothing is flushed, committed or aborted."""
        assert self.log is not None
        await self.log.crash()

    async def close(self) -> None:
        """Close it."""
        if self.log is not None:
            await self.log.__aexit__()
            self.log = None


class SpooledHarness:
    """The log in memory as the collector sees a log that has a spool."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self._memory = MemoryLog(PARTITIONS, self.clock)
        self._data = DataDir(folder)
        self.log: SpooledLog | None = None

    async def open(self) -> Log:
        """Start the log on what is stored, and the spool on what is in the folder."""
        self._memory = self._memory.reopen()
        self.log = SpooledLog(
            self._memory, Store(Folder(self._data.spool), 1 << 20, self.clock), self.clock, PARTITIONS
        )
        return await self.log.__aenter__()

    async def crash(self) -> None:
        """Kill both."""
        assert self.log is not None
        await self.log.abandon()
        await self._memory.crash()

    async def close(self) -> None:
        """Close both."""
        if self.log is not None:
            await self.log.__aexit__()
            self.log = None


IMPLEMENTATIONS = ("kafka", "memory", "spooled", "sqlite")


def maker_of(kind: str, request: pytest.FixtureRequest) -> Callable[[Path], Harness]:
    """Makes empty logs of a kind in a folder; a broker is started only for those that need one."""
    if kind == "kafka":
        bootstrap: str = request.getfixturevalue("kafka")
        return lambda _folder: KafkaHarness(bootstrap)
    made: dict[str, Callable[[Path], Harness]] = {
        "memory": MemoryHarness,
        "spooled": SpooledHarness,
        "sqlite": SqliteHarness,
    }
    return made[kind]


async def read_all(
    log: Log, tp: TopicPartition, offset: int | None = None, max_bytes: int = 4 << 20
) -> list[Record]:
    """Everything a partition holds, by as many reads as it takes."""
    found: list[Record] = []
    at = (await log.bounds(tp)).begin if offset is None else offset
    while at < (await log.bounds(tp)).end:
        batch = await log.read(tp, at, max_bytes=max_bytes)
        assert batch.next_offset > at, "a read below the end must make progress"
        found += batch.records
        at = batch.next_offset
    return found


def values(records: list[Record]) -> list[bytes | None]:
    """The values alone."""
    return [record.value for record in records]
