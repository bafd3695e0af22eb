"""Processors: events a second and core, against a bare typed decode loop as the floor.

Prints one JSON object. `chain` is decode, chain and encode in one loop, `worker` the whole stage on a log in memory and on
SQLite with its syncs, each in CPU seconds of the process. Parts are interleaved with the floor and repeated; medians.

Each part first works on as many events that are not counted: the stage has started then, caches are warm, the dedupe memory
has been written once, and most people are known, as they are after a pipeline's first minutes (meeting somebody writes two
rows of the profiles topic). The events counted are as many as bring the keys of one write of the dedupe memory (FLUSH_KEYS),
so that one such write is among them; with fewer (--events) there may be none. What brings the events into the log is not
counted, and nobody asks the log how far the worker is, which would be a part of the work itself: its commits tell.

    python -m bench.processors [--events 67000] [--rounds 3] [--duplicates 0.02]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from bench.records import SENT_BEFORE_MS, collected
from headwater import codec, memory, timestamps
from headwater.clock import SystemClock
from headwater.event import OptionalRaw
from headwater.log.memory import MemoryLog
from headwater.log.open import open_log
from headwater.log.protocol import Entry, Log, Position, Record, TopicPartition
from headwater.log.topics import ACCEPTED, PROCESSOR_GROUP, TOTALS
from headwater.paths import DataDir
from headwater.state.memory import MemoryState
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import SqliteLogSettings, Workspace
from processors import batch, worker
from processors.build import build
from processors.dedupe import Memory
from processors.profiles import Profiles

RECORD_EVENTS = 100
T0 = 1_750_000_000_000
AGENTS = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0 Safari/537.36"
    for n in range(100, 140)
]


class _Floor(msgspec.Struct, rename="camel"):
    type: str | None = None
    message_id: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    timestamp: str | None = None
    event: str | None = None
    properties: OptionalRaw = None
    context: OptionalRaw = None
    traits: OptionalRaw = None


def workspace() -> Workspace:
    """All processors on, with their defaults."""
    return Workspace.model_validate(
        {"workspace": "bench", "sources": {"web": {"kind": "browser", "write_keys": ["wk"]}}}
    )


def event(n: int, draw: random.Random) -> bytes:
    """An event of about 1.2 KB as a client sends it; of 200 four identify, two are group calls and one is a sign-up."""
    person, now = draw.randrange(5_000), timestamps.iso(T0 + n)
    kind = "identify" if n % 50 == 0 else "group" if n % 100 == 1 else "track"
    return codec.dumps({
        "type": kind, "messageId": f"ajs-next-{T0 + n}-{draw.randrange(1 << 64):016x}", "timestamp": now,
        "anonymousId": f"anon-{person}", "userId": f"user-{person}" if person % 3 == 0 or kind == "identify" else None,
        **({"groupId": f"account-{person % 400}"} if kind == "group" else {}),
        "event": "Signed Up" if n % 200 == 3 else draw.choice(["Report Exported", "Report Opened", "Invoice Paid"]),
        "properties": {"plan": "pro", "amount": draw.randrange(1000) / 10,
                       "items": [{"sku": f"S{i}", "qty": i} for i in range(6)],
                       "note": "x" * 120, "url": f"https://app.example.com/reports/{n}"},
        "context": {
            "ip": f"81.2.{person % 200}.{person % 250}", "userAgent": AGENTS[person % len(AGENTS)], "locale": "en-GB",
            "library": {"name": "analytics.js", "version": "next-1.70.0"}, "timezone": "Europe/London",
            "page": {"path": f"/reports/{n}", "referrer": "https://www.google.com/", "search": "?utm_source=ads",
                     "title": "Reports", "url": f"https://app.example.com/reports/{n}?utm_source=ads"},
            "campaign": {"source": "ads", "medium": "cpc", "name": "spring"}, "screen": {"width": 1920, "height": 1080},
        },
        "traits": {"email": f"user{person}@example.com", "plan": "pro"},
    })  # fmt: skip


def records(count: int, duplicates: float) -> list[Record]:
    """Accepted records of `RECORD_EVENTS` events, a share of them copies of earlier ones."""
    draw = random.Random(7)
    bodies: list[bytes] = []
    for n in range(count):
        bodies.append(draw.choice(bodies) if bodies and draw.random() < duplicates else event(n, draw))
    return [
        collected(bodies[at : at + RECORD_EVENTS], T0 + at + RECORD_EVENTS + SENT_BEFORE_MS)
        for at in range(0, count, RECORD_EVENTS)
    ]


def floor(given: list[Record]) -> None:
    """The least anything can do: split lines and decode them, typed, bodies left as they are."""
    decode = msgspec.json.Decoder(_Floor).decode
    for record in given:
        for line in (record.value or b"").split(b"\n"):
            decode(line)


def chain(given: Sequence[Record], known: Sequence[Record] = ()) -> float:
    """Decode, chain, encode; nothing is written."""
    state = MemoryState()
    profiles = Profiles(*(state.table(name) for name in ("links", "users", "accounts", "memberships")))
    steps = build(workspace(), Memory(state.seen), profiles, Counter())

    def work(some: Sequence[Record]) -> None:
        for at in range(0, len(some), 16):
            batch.work(some[at : at + 16], steps, "2026-01-01T00:00:00.000Z")
            profiles.drain_records()

    work(known)
    return timed(lambda: work(given))


async def append(log: Log, some: Sequence[Record]) -> None:
    """As a collector would, twenty batches of customers in a commit."""
    for at in range(0, len(some), 20):
        await log.append([Entry(ACCEPTED, 0, record) for record in some[at : at + 20]])


async def staged(log: Log, data: DataDir, deliveries: Iterable[Callable[[], Awaitable[None]]]) -> float:
    """CPU seconds of the worker, from the last delivery until all of it is committed."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(LiveWorkspace(workspace()), log, data, SystemClock(), stop))
    for deliver in deliveries:
        await deliver()
        began = time.process_time()
        await caught_up(log, running)
    used = time.process_time() - began
    stop.set()
    await running
    return used


async def caught_up(log: Log, running: asyncio.Task[None]) -> None:
    """Wait until everything is committed, or until the worker has failed."""
    tp = TopicPartition(ACCEPTED, 0)
    end = (await log.bounds(tp)).end
    while not running.done() and (await log.committed(PROCESSOR_GROUP, tp) or Position(0)).offset < end:
        await log.wait([TOTALS], 1.0)


def on_memory(given: Sequence[Record], folder: Path, known: Sequence[Record] = ()) -> float:
    """The stage on a log in memory."""
    log = MemoryLog()
    deliveries = [partial(append, log, some) for some in (known, given)]
    return asyncio.run(staged(log, DataDir(folder).make(), deliveries))


def on_sqlite(given: Sequence[Record], folder: Path, known: Sequence[Record] = ()) -> float:
    """The stage on SQLite, synced."""
    data, settings = DataDir(folder).make(), SqliteLogSettings()

    async def collector(some: Sequence[Record]) -> None:
        async with open_log(settings, data, "collector") as log:
            await append(log, some)

    async def deliver(some: Sequence[Record]) -> None:
        # In a loop of its own, while the worker's stands still: the collector's work must not be counted.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, collector(some)).result()

    async def both() -> float:
        async with open_log(settings, data, "processor") as log:
            return await staged(log, data, [partial(deliver, some) for some in (known, given)])

    return asyncio.run(both())


def timed(part: Callable[[], None]) -> float:
    """CPU seconds of one part."""
    began = time.process_time()
    part()
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=67_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--duplicates", type=float, default=0.02)
    chosen = options.parse_args()
    everything = records(chosen.events * 2, chosen.duplicates)
    known, given = everything[: len(everything) // 2], everything[len(everything) // 2 :]
    events = sum(record.events for record in given)
    memory.tune_collector_of_garbage()  # as the stage does when it starts
    memory.keep_heap()
    seconds: dict[str, list[float]] = {"floor": [], "chain": [], "worker_memory": [], "worker_sqlite": []}
    for _ in range(chosen.rounds):
        seconds["floor"].append(timed(lambda: floor(given)))
        seconds["chain"].append(chain(given, known))
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            seconds["worker_memory"].append(on_memory(given, Path(one), known))
            seconds["worker_sqlite"].append(on_sqlite(given, Path(two), known))
    base = statistics.median(seconds["floor"])
    size = sum(len(record.value or b"") for record in given) / events
    result = {
        "events": events,
        "bytes_per_event": round(size),
        **{
            name: {
                "us_per_event": round(statistics.median(found) / events * 1e6, 2),
                "spread_us": [round(one / events * 1e6, 2) for one in (min(found), max(found))],
                "events_per_s_core": round(events / statistics.median(found)),
                "times_floor": round(statistics.median(found) / base, 1),
            }
            for name, found in seconds.items()
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
