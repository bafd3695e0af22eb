"""Rebuilding a processor's state on a new host: seconds and CPU for each million events that dedupe has to know again.

    python -m bench.rebuild [--keys 1000000] [--bytes 1000]

Prints one JSON object. The events are processed ones of about `--bytes`, in records of 256, on the SQLite log with its
compression; the state folder is empty, as on a host that gets a partition for the first time. `floor` reads the same
records and does nothing with them. `again` opens the partition once more with the state that is there now.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

from bench.processors import workspace
from headwater import codec, timestamps
from headwater.clock import SystemClock
from headwater.log.protocol import Entry, Log, Record, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.log.topics import PROCESSED
from headwater.paths import DataDir
from headwater.state import lmdb
from headwater.state.protocol import StateStore
from headwater.workspace.live import LiveWorkspace
from processors import fold
from processors.build import build
from processors.partition import Partition, Resources

RECORD_EVENTS = 256
APPEND_RECORDS = 64


def line(number: int, size: int) -> bytes:
    """A processed event of about `size` bytes whose messageId nobody else has."""
    known = {
        "messageId": f"ajs-next-{number}-{os.urandom(8).hex()}",
        "sourceId": "web",
        "receivedAt": timestamps.iso(1_750_000_000_000 + number),
        "type": "track",
        "event": "Report Opened",
        "anonymousId": f"v{number % 50_000}",
        "context": {
            "page": {"url": f"https://app.example.com/reports/{number}"},
            "library": {"name": "analytics.js"},
        },
    }
    room = max(0, size - len(codec.dumps(known)) - 30)
    return codec.dumps({**known, "properties": {"note": os.urandom(room // 4).hex() + "x" * (room // 2)}})


async def fill(log: Log, keys: int, size: int) -> None:
    """Write the events."""
    step = RECORD_EVENTS * APPEND_RECORDS
    for at in range(0, keys, step):
        numbers = range(at, min(keys, at + step))
        lines = [line(number, size) for number in numbers]
        await log.append([
            Entry(PROCESSED, 0, Record(b"\n".join(some), events=len(some)))
            for some in (lines[i : i + RECORD_EVENTS] for i in range(0, len(lines), RECORD_EVENTS))
        ])  # fmt: skip


async def floor(log: Log) -> None:
    """Read everything."""
    async for _ in fold.records(log, TopicPartition(PROCESSED, 0), 0):
        continue


async def opened(use: Resources) -> None:
    """Open the partition and close it again."""
    partition, _ = await Partition.open(0, use)
    await partition.close()


async def measure(keys: int, size: int, folder: Path) -> dict[str, float]:
    """Fill, read, rebuild, open again."""
    data, clock = DataDir(folder).make(), SystemClock()

    def open_state(number: int, log_id: str) -> StateStore:
        return lmdb.open_state(data.state / str(number), log_id)

    async with SqliteLog(data, clock, writers=["processor"]) as log:
        await fill(log, keys, size)
        use = Resources(LiveWorkspace(workspace()), log, clock, build, open_state, lambda _number, _why: None)
        result: dict[str, float] = {"keys": keys, "event_bytes": size}
        for name, work in (("floor", floor(log)), ("rebuild", opened(use)), ("again", opened(use))):
            wall, cpu = time.perf_counter(), time.process_time()
            await work
            result[f"{name}_s"] = round(time.perf_counter() - wall, 3)
            result[f"{name}_cpu_s"] = round(time.process_time() - cpu, 3)
        result["rebuild_s_per_million"] = round(result["rebuild_s"] * 1e6 / keys, 2)
        result["rebuild_cpu_us_per_key"] = round(result["rebuild_cpu_s"] * 1e6 / keys, 2)
        result["log_bytes_per_event"] = round((data.log / "processor.db").stat().st_size / keys, 1)
        return result


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keys", type=int, default=1_000_000)
    options.add_argument("--bytes", type=int, default=1_000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(measure(chosen.keys, chosen.bytes, Path(folder))), indent=2))


if __name__ == "__main__":
    main()
