"""What the spool costs: appends per second to disk, and how fast it is drained, beside SQLite's log on the same disk.

    .venv/bin/python bench/spool.py [--events 100000] [--group 64] [--dir .]

Groups of single events of 1.2 KB, as the collector's group commit makes them; the inner log is in memory, and takes nothing
while the spool is filled.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from headwater.clock import SystemClock
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Record
from headwater.log.spool import SpooledLog
from headwater.log.spool_folder import Folder
from headwater.log.spool_store import Store
from headwater.log.sqlite import SqliteLog
from headwater.log.topics import ACCEPTED
from headwater.paths import DataDir

PARTITIONS = 12


def event(random: Random, number: int) -> bytes:
    """About 1.2 KB that compresses as events do."""
    words = ("signup", "checkout", "page", "pricing", "docs", "campaign", "referrer", "https://example.com/")
    ids = f"{random.getrandbits(128):032x} {random.getrandbits(128):032x} {number}"
    return (
        ids + " " + " ".join(f'"{random.choice(words)}":{random.randrange(1000)}' for _ in range(72))
    ).encode()


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measured(name: str, work: Callable[[], Awaitable[None]], events: int, size: int) -> None:
    began, used = time.perf_counter(), cpu()
    await work()
    took, used = time.perf_counter() - began, cpu() - used
    print(
        f"{name:<28} {events / took:>9,.0f} events/s {size / took / 1e6:>7.1f} MB/s"
        f" {took / events * 1e6:>6.1f} us/event {used / events * 1e6:>6.1f} us CPU/event"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--dir", default=".")
    options = parser.parse_args()
    random, clock = Random(1), SystemClock()
    values = [event(random, number) for number in range(options.events)]
    size = sum(map(len, values))
    groups = [
        [
            Entry(ACCEPTED, (start + n) % PARTITIONS, Record(value))
            for n, value in enumerate(values[start : start + options.group])
        ]
        for start in range(0, len(values), options.group)
    ]

    async def append(log: SpooledLog | SqliteLog | MemoryLog) -> None:
        for group in groups:
            await log.append(group)

    with tempfile.TemporaryDirectory(dir=options.dir, prefix=".spool-bench-") as made:
        folder = Path(made)
        async with SqliteLog(DataDir(folder), clock, writers=["collector"], partitions=PARTITIONS) as direct:
            await measured("SQLite's log", lambda: append(direct), len(values), size)
        inner = MemoryLog(PARTITIONS, clock)
        await measured("memory, direct", lambda: append(inner), len(values), size)
        inner = MemoryLog(PARTITIONS, clock)
        store = Store(Folder(folder / "spool"), 1 << 34, clock)
        async with SpooledLog(inner, store, clock, PARTITIONS) as log:
            await measured("memory, through the spool", lambda: append(log), len(values), size)
            inner.faults.hold()
            await measured("to disk, log silent", lambda: append(log), len(values), size)
            print(f"on disk: {store.bytes / len(values):.0f} bytes an event of {size // len(values)}")

            async def drain() -> None:
                inner.faults.release()
                while log.state.spooling:
                    await asyncio.sleep(0.01)

            await measured("drained", drain, len(values), size)


if __name__ == "__main__":
    asyncio.run(main())
