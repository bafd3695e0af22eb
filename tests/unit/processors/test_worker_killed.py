"""The worker on its real parts, SQLite and LMDB, in a process that gets SIGKILL again and again."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from headwater import codec
from headwater.clock import SystemClock
from headwater.event import encode_accepted
from headwater.log.open import open_log
from headwater.log.protocol import Entry, Log, Record, TopicPartition
from headwater.log.topics import ACCEPTED, DROPPED, PROCESSED, PROCESSOR_GROUP, TOTALS
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import SqliteLogSettings
from processors import partition, totals, worker
from tests.support.rig import accepted, workspace

EVENTS = 6_000
KILLS = 6


async def process(folder: Path, stop: asyncio.Event) -> None:
    """The stage as its own process runs it, with a state that is written often."""
    partition.FLUSH_KEYS = 500
    worker.POLL_BYTES = 32 << 10
    data = DataDir(folder).make()
    async with open_log(SqliteLogSettings(), data, "processor") as log:
        await worker.run(LiveWorkspace(workspace()), log, data, SystemClock(), stop)


def _child(folder: str) -> None:
    asyncio.run(process(Path(folder), asyncio.Event()))


async def lines(log: Log, topic: str) -> list[dict[str, object]]:
    """Every event line of partition 0 of a topic."""
    tp, found = TopicPartition(topic, 0), list[dict[str, object]]()
    offset, end = await log.bounds(tp)
    while offset < end:
        batch = await log.read(tp, offset)
        offset = batch.next_offset
        found.extend(codec.loads(line) for one in batch.records for line in (one.value or b"").split(b"\n"))
    return found


def records(draw: random.Random) -> Iterator[Record]:
    """Accepted records; every fourth event is a copy of an earlier one."""
    for at in range(0, EVENTS, 50):
        batch = [
            accepted(
                n, f"m{draw.randrange(n) if n and draw.random() < 0.25 else EVENTS + n}", user_id=f"u{n % 40}"
            )
            for n in range(at, at + 50)
        ]
        yield Record(b"\n".join(map(encode_accepted, batch)), events=len(batch))


async def test_a_worker_killed_at_random_instants_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """After every kill a new process goes on; in the end every event came out once and the totals are exact."""
    draw = random.Random(11)
    context = multiprocessing.get_context("spawn")
    data = DataDir(tmp_path).make()
    async with open_log(SqliteLogSettings(), data, "collector") as door:
        await door.append([Entry(ACCEPTED, 0, record) for record in records(draw)])
        for _ in range(KILLS):
            child = context.Process(target=_child, args=(str(tmp_path),))
            child.start()
            before = (await door.committed(PROCESSOR_GROUP, TopicPartition(ACCEPTED, 0))) or (0, "")
            # Past its imports, in the middle of its work: when it has committed something new, and a little later.
            while ((await door.committed(PROCESSOR_GROUP, TopicPartition(ACCEPTED, 0))) or (0, "")) == before:
                assert child.is_alive()
                if before[0] >= (await door.bounds(TopicPartition(ACCEPTED, 0))).end:
                    break
                await asyncio.sleep(0.001)
            await asyncio.sleep(draw.random() * 0.02)
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join(10)
        stop = asyncio.Event()
        running = asyncio.ensure_future(process(tmp_path, stop))
        while any(one.events for one in await door.lag(PROCESSOR_GROUP, [ACCEPTED])):
            assert not running.done()
            await asyncio.sleep(0.005)
        stop.set()
        await running
        processed, dropped = await lines(door, PROCESSED), await lines(door, DROPPED)
        newest = (await lines(door, TOTALS))[-1]
    serials = [one["properties"]["serial"] for one in (*processed, *(one["event"] for one in dropped))]  # type: ignore[index]
    assert Counter(serials) == Counter(range(EVENTS))
    assert max(Counter(one["messageId"] for one in processed).values()) == 1
    counted = totals.decode(codec.dumps(newest))
    assert counted.accepted == EVENTS
    assert counted.processed == {"web": {"track": len(processed)}}
    assert counted.dropped == {"web": {"duplicate": len(dropped)}}
