"""Several processors on one Kafka: they share the partitions, and a killed one's move on, exactly once."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater import codec
from headwater.event import encode_accepted
from headwater.log.protocol import Entry, Log, Record, TopicPartition
from headwater.log.topics import ACCEPTED, DROPPED, PROCESSED, PROCESSOR_GROUP
from tests.kafka.processor_process import PARTITIONS, open_log
from tests.support.rig import accepted

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
ROUND, SIZE = 60, 25  # records of a round, events of each
TAKEOVER_S = 15.0  # what is promised; the session timeout is six of them


async def start(bootstrap: str, prefix: str, folder: Path) -> asyncio.subprocess.Process:
    """A processor with a folder of its own."""
    program = str(Path(__file__).with_name("processor_process.py"))
    with (folder.parent / f"{folder.name}.log").open("w") as told:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            program,
            bootstrap,
            prefix,
            str(folder),
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stderr=told,
        )


async def append(log: Log, first: int) -> None:
    """A round of events over all partitions; every fifth is a copy of the one before it."""
    for at in range(ROUND):
        serials = range(first + at * SIZE, first + (at + 1) * SIZE)
        events = [accepted(n, f"m{n - (n % 5 == 4)}", user_id=f"u{at % PARTITIONS}") for n in serials]
        value = b"\n".join(map(encode_accepted, events))
        await log.append([Entry(ACCEPTED, at % PARTITIONS, Record(value, events=SIZE))])


async def serials(log: Log, topic: str) -> Counter[int]:
    """What came out, as read_committed sees it."""
    found: Counter[int] = Counter()
    for number in range(PARTITIONS):
        tp = TopicPartition(topic, number)
        offset, end = await log.bounds(tp)
        while offset < end:
            batch = await log.read(tp, offset)
            offset = batch.next_offset
            for line in (line for one in batch.records for line in (one.value or b"").split(b"\n") if line):
                kept = codec.loads(line)
                event = kept["event"] if topic == DROPPED else kept
                found[event["properties"]["serial"]] += 1
    return found


async def until(done: Callable[[list[int]], bool], log: Log, seconds: float) -> float:
    """Wait until the unread events of the partitions are as wanted; the seconds it took."""
    began = time.monotonic()
    while not done([lag.events for lag in await log.lag(PROCESSOR_GROUP, [ACCEPTED])]):
        assert time.monotonic() - began < seconds, "the processors do not get on"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def test_a_killed_processors_partitions_move_on_and_nothing_is_lost_or_doubled(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Two processors share four partitions; one gets SIGKILL in the middle; the other goes on where it had committed."""
    async with open_log(kafka, topic_prefix) as log:
        await append(log, 0)
        processors = [await start(kafka, topic_prefix, tmp_path / str(n)) for n in (0, 1)]
        try:
            await until(lambda unread: sum(unread) == 0, log, 60)
            await append(log, ROUND * SIZE)
            processors[0].send_signal(signal.SIGKILL)
            await processors[0].wait()
            took = await until(lambda unread: sum(unread) == 0, log, TAKEOVER_S * 2)
        finally:
            for process in processors:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        assert took < TAKEOVER_S
        out = await serials(log, PROCESSED) + await serials(log, DROPPED)
    assert out == Counter(range(2 * ROUND * SIZE))
