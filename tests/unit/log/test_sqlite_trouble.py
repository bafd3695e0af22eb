"""The SQLite log when something is wrong: no space, foreign or damaged files, a full queue, the wrong process."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from headwater.clock import ManualClock
from headwater.errors import AlreadyRunning, Corrupt, LogError, LogUnavailable
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.sqlite_file import open_for_reading, open_for_writing
from headwater.log.sqlite_sheet import Sheet
from headwater.log.sqlite_writer import Committer
from headwater.log.topics import ACCEPTED, PROCESSED, PROCESSOR_GROUP, PROFILES, Writer
from headwater.paths import DataDir
from tests.contracts.log.harness import read_all, values

IN, OUT, ROWS = TopicPartition(ACCEPTED, 0), TopicPartition(PROCESSED, 0), TopicPartition(PROFILES, 0)


def limit_pages(committer: Committer, pages: int) -> None:
    """Let the file grow to so many pages: SQLite then says `full`, as it does for ENOSPC."""
    committer._connection.execute(f"PRAGMA max_page_count={pages}").fetchall()


async def test_a_full_disk_refuses_writes_and_the_log_works_again_when_there_is_space(
    data: DataDir, clock: ManualClock
) -> None:
    """Nothing of a refused append or transaction is there; what follows goes on at the next offset."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await log.append([Entry(*IN, Record(b"before"))])
        owner = await log.claim(PROCESSOR_GROUP, IN)
        limited = [log._open["collector"], log._open["processor"]]
        for committer in limited:
            limit_pages(committer, 1)
        large = os.urandom(1 << 17)
        results = await asyncio.gather(
            *(log.append([Entry(*IN, Record(large))]) for _ in range(5)), return_exceptions=True
        )
        assert all(isinstance(result, LogUnavailable) for result in results), results
        assert "free disk space" in str(results[0])
        transaction = owner.begin()
        transaction.append(*OUT, [Record(large)])
        transaction.advance(IN, Position(1))
        with pytest.raises(LogUnavailable, match="SQLITE_FULL"):
            await transaction.commit()
        for committer in limited:
            limit_pages(committer, 1 << 30)
        await log.append([Entry(*IN, Record(b"after"))])
        assert values(await read_all(log, IN)) == [b"before", b"after"]
        assert await read_all(log, OUT) == []
        assert await owner.position() is None
        again = owner.begin()
        again.append(*OUT, [Record(b"fine")])
        await again.commit()
        assert values(await read_all(log, OUT)) == [b"fine"]


async def test_a_write_the_system_refuses_is_told_and_survived(data: DataDir, clock: ManualClock) -> None:
    """The operating system itself says no (a file-size limit, as a quota would), then yes again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with SqliteLog(data, clock, writers=["collector"]) as log:
        await log.append([Entry(*IN, Record(b"before"))])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, hard))
        try:
            with pytest.raises(LogUnavailable, match=r"SQLITE_(IOERR|FULL)"):
                await log.append([Entry(*IN, Record(os.urandom(1 << 18)))])
            await log.append([Entry(*IN, Record(b"small ones still fit"))])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await log.append([Entry(*IN, Record(b"after"))])
        assert values(await read_all(log, IN)) == [b"before", b"small ones still fit", b"after"]


async def test_a_full_queue_refuses_at_once_and_drains(data: DataDir, clock: ManualClock) -> None:
    """While the disk stands still only so many bytes wait; the rest is told to come again."""
    gate = threading.Event()
    async with SqliteLog(data, clock, writers=["collector"], queue_bytes=10_000) as log:

        def stand_still(_sheet: Sheet) -> None:
            assert gate.wait(30)

        stalled = asyncio.create_task(log._open["collector"].do(stand_still))
        await asyncio.sleep(0)
        while log._open["collector"]._queue.jobs:
            await asyncio.sleep(0)
        waiting = [asyncio.create_task(log.append([Entry(*IN, Record(b"x" * 1000))])) for _ in range(20)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused = [task for task in done if isinstance(task.exception(), LogUnavailable)]
        assert len(refused) == len(done) == 11
        assert "10000 are allowed" in str(refused[0].exception())
        gate.set()
        await stalled
        await asyncio.gather(*(task for task in waiting if task not in refused))
        assert len(await read_all(log, IN)) == 9


async def test_one_record_that_cannot_be_written_costs_its_neighbours_nothing(
    data: DataDir, clock: ManualClock
) -> None:
    """A mistake found while packing a shared commit fails its own caller alone."""
    gate = threading.Event()
    async with SqliteLog(data, clock, writers=["collector"]) as log:
        stalled = asyncio.create_task(log._open["collector"].do(lambda _sheet: gate.wait(30)))
        good = [asyncio.create_task(log.append([Entry(*IN, Record(b"%d" % n))])) for n in range(3)]
        bad = asyncio.create_task(log.append([Entry(*IN, Record(b"x", events=-1))]))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(stalled, *good)
        with pytest.raises(Exception, match=r"argument out of range|format requires"):
            await bad
        assert values(await read_all(log, IN)) == [b"0", b"1", b"2"]


async def test_a_second_writer_is_refused_with_the_pid_of_the_first(
    data: DataDir, clock: ManualClock
) -> None:
    """The lock names its holder and goes with it."""
    async with SqliteLog(data, clock, writers=["collector"]):
        with pytest.raises(AlreadyRunning, match="collector of this folder") as caught:
            await SqliteLog(data, clock, writers=["collector"]).__aenter__()
        assert caught.value.pid == os.getpid()
        async with SqliteLog(data, clock, writers=["processor"]):
            pass
    async with SqliteLog(data, clock, writers=["collector"]):
        pass


async def test_a_reader_starts_before_any_writer_and_sees_its_file_appear(
    data: DataDir, clock: ManualClock
) -> None:
    """Without files everything is empty; the first write is seen by the reader that was there before it."""
    async with SqliteLog(data, clock) as reader:
        assert await reader.bounds(IN) == (0, 0)
        assert (await reader.read(IN, 0)).records == []
        assert await reader.committed(PROCESSOR_GROUP, IN) is None
        assert [lag.events for lag in await reader.lag(PROCESSOR_GROUP, [ACCEPTED])] == [0]
        sleeper = asyncio.create_task(reader.wait([ACCEPTED], 30))
        await asyncio.sleep(0)
        async with SqliteLog(data, clock, writers=["collector"]) as writer:
            await writer.append([Entry(*IN, Record(b"first"))])
            assert await asyncio.wait_for(sleeper, 10)
            assert values(await read_all(reader, IN)) == [b"first"]


async def test_a_log_writes_only_its_own_file(data: DataDir, clock: ManualClock) -> None:
    """A reader, or another process's writer, is told whose file it is."""
    async with SqliteLog(data, clock, writers=["collector"]) as log:
        with pytest.raises(LogError, match=r"processor\.db is written by the processor process alone"):
            await log.append([Entry(*OUT, Record(b"x"))])
        with pytest.raises(LogError, match="opened to write collector"):
            await log.claim(PROCESSOR_GROUP, IN)


async def test_a_transaction_spans_one_file(data: DataDir, clock: ManualClock) -> None:
    """Outputs in another file than the group's positions could not be atomic, so they are refused."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        owner = await log.claim(PROCESSOR_GROUP, IN)
        with pytest.raises(
            ValueError, match=r"writes processor\.db; topic deliveries is in destinations\.db"
        ):
            owner.begin().append("deliveries", 0, [Record(b"x")])


async def test_keys_are_demanded_where_they_are_needed(data: DataDir, clock: ManualClock) -> None:
    """A compacted topic without a key, or a plain one without a value, is refused before it is queued."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        with pytest.raises(ValueError, match="needs a key"):
            await log.append([Entry(*ROWS, Record(b"x"))])
        with pytest.raises(ValueError, match="needs a value"):
            await log.append([Entry(*IN, Record(None, b"k"))])


async def test_another_number_of_partitions_is_refused_once_there_are_events(
    data: DataDir, clock: ManualClock
) -> None:
    """Before the first event it may change; afterwards it is part of the data."""
    async with SqliteLog(data, clock, writers=["collector"], partitions=2):
        pass
    async with SqliteLog(data, clock, writers=["collector"], partitions=4) as log:
        await log.append([Entry(ACCEPTED, 3, Record(b"x"))])
    with pytest.raises(LogError, match=r"holds events in 4 partitions, log\.partitions says 2"):
        await SqliteLog(data, clock, writers=["collector"], partitions=2).__aenter__()
    async with SqliteLog(data, clock, writers=["collector"], partitions=4) as log:
        assert (await log.bounds(TopicPartition(ACCEPTED, 3))).end == 1


@pytest.mark.parametrize("writers", [(), ("collector",)], ids=["reader", "writer"])
async def test_a_newer_schema_is_refused(
    data: DataDir, clock: ManualClock, writers: tuple[Writer, ...]
) -> None:
    """The message names both versions and the next step."""
    async with SqliteLog(data, clock, writers=["collector"]):
        pass
    connection = sqlite3.connect(data.log / "collector.db")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(LogError, match=r"newer Headwater \(schema 99, this version reads 1\)"):
        async with SqliteLog(data, clock, writers=writers) as log:
            await log.bounds(IN)


async def test_a_damaged_row_is_loud(data: DataDir, clock: ManualClock) -> None:
    """One changed byte of a stored batch or keyed row raises Corrupt and names the offset."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await log.append([Entry(*IN, Record(b"x" * 500)), Entry(*ROWS, Record(b"value", b"key"))])
    for name, statement in (
        (
            "collector",
            "UPDATE batches SET body = CAST(substr(body, 1, 20) || x'00' || substr(body, 22) AS BLOB)",
        ),
        ("processor", "UPDATE keyed SET value = x'00'"),
    ):
        connection = sqlite3.connect(data.log / f"{name}.db")
        connection.execute(statement)
        connection.commit()
        connection.close()
    async with SqliteLog(data, clock) as log:
        with pytest.raises(Corrupt, match="offset 0"):
            await log.read(IN, 0)
        with pytest.raises(Corrupt, match="offset 0"):
            await log.read(ROWS, 0)


async def test_a_file_that_is_not_a_database_is_loud(data: DataDir, clock: ManualClock) -> None:
    """Garbage in place of the file is refused by reader and writer, not replaced."""
    data.make()
    path = data.log / "collector.db"
    path.write_bytes(b"garbage" * 1000)
    async with SqliteLog(data, clock) as log:
        with pytest.raises(Corrupt, match="not a database"):
            await log.bounds(IN)
    with pytest.raises(Corrupt, match="not a database"):
        await SqliteLog(data, clock, writers=["collector"]).__aenter__()
    assert path.read_bytes() == b"garbage" * 1000


@pytest.mark.parametrize("open_it", [open_for_reading, open_for_writing])
def test_a_refused_file_is_let_go(tmp_path: Path, open_it: Callable[[Path], object]) -> None:
    """At once, not when the error is forgotten: a process that tries again keeps no descriptor of each attempt."""
    path = tmp_path / "collector.db"
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(Corrupt, match="not a database") as kept:
        open_it(path)
    open_files = [one.path for one in psutil.Process().open_files()]
    assert str(path) not in open_files
    assert kept.value.__cause__ is not None, (
        "the error is still there, and with it the frames that held the connection"
    )


async def test_a_backup_taken_while_writing_is_a_working_log(
    data: DataDir, clock: ManualClock, tmp_path: Path
) -> None:
    """The copy opens, holds at least what was there when it began, and its positions are inside its log."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(100)])
        owner = await log.claim(PROCESSOR_GROUP, IN)
        transaction = owner.begin()
        transaction.advance(IN, Position(100))
        await transaction.commit()
        more = asyncio.create_task(log.append([Entry(*IN, Record(b"more"))]))
        made = await log.backup(tmp_path / "copy" / "log")
        await more
        assert [path.name for path in made] == ["destinations.db", "processor.db", "collector.db"]
        with pytest.raises(LogError, match="exists already"):
            await log.backup(tmp_path / "copy" / "log")
    async with SqliteLog(DataDir(tmp_path / "copy"), clock, writers=WRITERS) as copy:
        assert values(await read_all(copy, IN))[:100] == [b"%d" % n for n in range(100)]
        position = await copy.committed(PROCESSOR_GROUP, IN)
        assert position is not None
        assert position.offset <= (await copy.bounds(IN)).end


def test_a_log_can_be_read_in_a_folder_whose_name_the_locale_cannot_write(tmp_path: Path) -> None:
    """Under `LC_ALL=C` Python keeps the bytes of such a name as surrogates."""
    path = tmp_path / "données" / "log.db"
    path.parent.mkdir()
    open_for_writing(path).close()
    program = "import pathlib, sys; from headwater.log.sqlite_file import open_for_reading as o; o(pathlib.Path(sys.argv[1])).close()"
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program, os.fsencode(path)], env=plain, check=True)
