"""The SQLite log between processes: waking each other, and SIGKILL at any instant."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import psutil

from headwater.clock import ManualClock, SystemClock
from headwater.log.notify import Bell, Ear
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.log.topics import ACCEPTED
from headwater.paths import DataDir
from tests.contracts.log.harness import read_all

IN = TopicPartition(ACCEPTED, 0)
SCRIPT = Path(__file__).with_name("writer_process.py")
ROOT = Path(__file__).parents[3]


@contextlib.asynccontextmanager
async def writing(data: DataDir, first: int, callers: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A writer in a process of its own, killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        str(data.root),
        str(first),
        str(callers),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_nothing_acknowledged_is_lost_when_the_writer_is_killed_again_and_again(data: DataDir) -> None:
    """Six lives of a writer, each ended by SIGKILL; every printed number is in the log, once; a reader stays open."""
    random, acknowledged, first = Random(4), list[int](), 0
    async with SqliteLog(data, SystemClock()) as reader:
        for _ in range(6):
            async with writing(data, first, 16) as process:
                assert process.stdout is not None
                for _ in range(random.randrange(50, 800)):
                    acknowledged.append(int(await process.stdout.readline()))
                process.send_signal(signal.SIGKILL)
                rest = (await process.stdout.read()).split(b"\n")[:-1]  # what it had printed when it died
                acknowledged += [int(line) for line in rest]
            first = max(acknowledged) + 1000
            await reader.bounds(IN)
        records = await read_all(reader, IN)
    found = [int((record.value or b"").split(b" ")[0]) for record in records]
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))
    assert len(acknowledged) > 300
    assert all(
        record.value == b"%d " % n + b"x" * (n % 3000) for n, record in zip(found, records, strict=True)
    )
    async with SqliteLog(data, SystemClock(), writers=["collector"]) as log:
        await log.append([Entry(*IN, Record(b"goes on"))])


async def test_a_reader_in_another_process_is_woken_within_milliseconds(data: DataDir) -> None:
    """Sleeping on a topic ends with the other process's commit, not with the poll of a second later."""
    loop = asyncio.get_running_loop()
    async with SqliteLog(data, SystemClock()) as reader, writing(data, 0, 1) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        delays: list[float] = []
        for _ in range(20):
            started = loop.time()
            assert await reader.wait([ACCEPTED], 10)
            delays.append(loop.time() - started)
    assert sorted(delays)[len(delays) // 2] < 0.2, delays


async def test_a_lost_wake_up_costs_at_most_the_poll(data: DataDir) -> None:
    """With the `run` folder cleared by hand the reader still hears of a write."""
    async with (
        SqliteLog(data, SystemClock(), writers=["collector"]) as writer,
        SqliteLog(data, SystemClock()) as reader,
    ):
        for pipe in (data.run / "wake" / "collector").iterdir():
            pipe.unlink()
        sleeper = asyncio.create_task(reader.wait([ACCEPTED], 30))
        await asyncio.sleep(0)
        await writer.append([Entry(*IN, Record(b"x"))])
        assert await asyncio.wait_for(sleeper, 10)


async def test_the_pipe_of_a_killed_reader_is_removed_and_a_full_one_is_harmless(tmp_path: Path) -> None:
    """A ring never blocks and never fails, whoever listens."""
    heard = asyncio.Event()
    ear = Ear(tmp_path, heard.set)
    ear.open()
    os.mkfifo(tmp_path / "dead")
    bell = Bell(tmp_path)
    for _ in range(70_000):
        bell.ring()
    assert [path.name for path in tmp_path.iterdir()] == [ear._path.name]
    await asyncio.wait_for(heard.wait(), 10)
    ear.close()
    bell.ring()
    bell.close()
    assert list(tmp_path.iterdir()) == []


async def test_an_idle_log_is_idle(data: DataDir) -> None:
    """A process that sleeps on a foreign topic uses next to no processor time."""
    async with SqliteLog(data, SystemClock(), writers=["processor"]) as log:
        process = psutil.Process()
        before = process.cpu_times()
        assert not await log.wait([ACCEPTED], 2)
        after = process.cpu_times()
    assert (after.user - before.user) + (after.system - before.system) <= 0.06


async def test_reading_does_not_starve_the_event_loop(data: DataDir) -> None:
    """While megabytes are read the loop keeps turning."""
    async with SqliteLog(data, ManualClock(), writers=["collector"]) as log:
        await log.append([Entry(*IN, Record(os.urandom(1000))) for _ in range(20_000)])
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        ticking = asyncio.create_task(tick())
        assert len(await read_all(log, IN)) == 20_000
        ticking.cancel()
        assert turns > 5
