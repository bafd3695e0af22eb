"""Two processes of one destination on one Kafka: they share the partitions, and a killed one's move on."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from destinations.clickhouse.engine import open_server
from destinations.kit import control
from destinations.kit.books import all_totals
from destinations.kit.records import Totals
from headwater.clock import SystemClock
from headwater.log.protocol import Log
from headwater.run.funnel import funnel
from tests.kafka.destination_process import workspace
from tests.kafka.processor_process import PARTITIONS, open_log
from tests.support.clickhouse_server import Server
from tests.support.delivering import NAME, event, publish
from tests.support.receiver import Answer, Got, Receiver

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
ROUND, SIZE = 400, 5  # events of a round, of a record
TAKEOVER_S = 15.0  # what is promised; the session timeout is six of them
WAREHOUSE = "warehouse"


@asynccontextmanager
async def two(
    bootstrap: str, prefix: str, folder: Path, destinations: dict[str, Any]
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Two processes of the same destinations, each with a folder of its own."""
    program = str(Path(__file__).with_name("destination_process.py"))
    started = []
    try:
        for number in (0, 1):
            with (folder / f"{number}.log").open("w") as told:
                arguments = (bootstrap, prefix, str(folder / str(number)), json.dumps(destinations))
                command = (sys.executable, program, *arguments)
                env = {"PYTHONPATH": str(ROOT)}
                started.append(await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stderr=told))
        yield started
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def published(log: Log, first: int) -> list[str]:
    """A round of events over all partitions, one record after another; their ids."""
    for at in range(first, first + ROUND, SIZE):
        await publish(log, [event(n) for n in range(at, at + SIZE)], partition=at // SIZE % PARTITIONS)
    return [f"m{n}" for n in range(first, first + ROUND)]


async def published_until(log: Log, enough: asyncio.Event) -> list[str]:
    """Rounds after the first one, until there were enough; their ids."""
    ids: list[str] = []
    while not enough.is_set():
        ids += await published(log, ROUND + len(ids))
    return ids


async def shared(bootstrap: str, group: str) -> None:
    """Wait until the group has dealt its partitions out to two members."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(40):
            while True:
                (answer,) = await admin.describe_consumer_groups([group])
                (_, _, state, _, _, members) = answer.groups[0][:6]
                if state == "Stable" and len(members) == 2:
                    return
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def until(log: Log, name: str, met: Callable[[Totals], bool], seconds: float) -> Totals:
    """Wait until the destination's counts are so; they add up all the while."""
    totals = Totals(destination=name)
    try:
        async with asyncio.timeout(seconds):
            while not met(totals):
                await asyncio.sleep(0.05)
                totals = (await all_totals(log)).get(name, totals)
                assert totals.balances(), totals
    except TimeoutError:
        pytest.fail(f"the destination does not get on: {totals}")
    return totals


async def kill(process: asyncio.subprocess.Process) -> None:
    """Nothing is finished or said any more."""
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def test_a_killed_webhook_process_is_taken_over_and_every_event_counted_once(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """One of two gets SIGKILL in the middle: all arrive, only what was under way twice, and letters are settled beside it."""

    def rule(got: Got) -> Answer:
        results = [{"status": 422 if int(id_[1:]) % 50 == 0 else 200} for id_ in got.ids]
        return Answer(207, json.dumps({"results": results}).encode())

    async with open_log(kafka, topic_prefix) as log, Receiver(rule=rule) as receiver:
        delivery = {"batch": {"max_events": 10, "max_wait_s": 0}, "concurrency": 2}
        hook = {"type": "webhook", "url": receiver.url, "allow_private": True, "delivery": delivery}
        async with two(kafka, topic_prefix, tmp_path, {NAME: hook}) as processes:
            await shared(kafka, f"{topic_prefix}destination.{NAME}")
            ids = await published(log, 0)
            await until(log, NAME, lambda t: t.read == ROUND, 40)
            ids += await published(log, ROUND)
            await receiver.requests(len(receiver.got) + 1)
            await kill(processes[0])
            assert (await all_totals(log))[NAME].read < 2 * ROUND, "killed in the middle"
            totals = await until(log, NAME, lambda t: t.read == 2 * ROUND, TAKEOVER_S)
            dead = 2 * ROUND // 50
            assert (totals.delivered, totals.dead) == (2 * ROUND - dead, dead)
            receiver.rule = lambda _: Answer()
            done = await control.settle(log, workspace({NAME: hook}), SystemClock(), "retry", NAME, None)
            assert done["count"] == dead
            totals = await until(log, NAME, lambda t: t.delivered == 2 * ROUND, 20)
        assert (totals.read, totals.retrying, totals.dead) == (2 * ROUND, 0, 0)
        assert (await funnel(log, [NAME], 0)).destinations[NAME].adds_up
    arrived = Counter(receiver.ids)
    assert set(arrived) == set(ids)
    settled_before = {id_: 1 + (int(id_[1:]) % 50 == 0) for id_ in ids[:ROUND]}
    assert {id_: arrived[id_] for id_ in ids[:ROUND]} == settled_before, "only what was under way comes again"


async def test_a_process_that_hung_counts_nothing_of_what_others_took_over_and_joins_again(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """One of two stands still in the middle until the other has done its part; awake, it is refused, and shares again."""
    async with open_log(kafka, topic_prefix) as log, Receiver() as receiver:
        delivery = {"batch": {"max_events": 10, "max_wait_s": 0}, "concurrency": 2}
        hook = {"type": "webhook", "url": receiver.url, "allow_private": True, "delivery": delivery}
        async with two(kafka, topic_prefix, tmp_path, {NAME: hook}) as processes:
            await shared(kafka, f"{topic_prefix}destination.{NAME}")
            ids = await published(log, 0)
            await receiver.requests(1)
            processes[0].send_signal(signal.SIGSTOP)
            await until(log, NAME, lambda t: t.read == ROUND, TAKEOVER_S)
            processes[0].send_signal(signal.SIGCONT)
            await shared(kafka, f"{topic_prefix}destination.{NAME}")
            ids += await published(log, ROUND)
            totals = await until(log, NAME, lambda t: t.read >= 2 * ROUND, TAKEOVER_S)
            assert [process.returncode for process in processes] == [None, None]
    assert (totals.read, totals.delivered) == (2 * ROUND, 2 * ROUND)
    assert set(receiver.ids) == set(ids)


async def test_a_killed_loader_is_taken_over_and_the_base_table_is_exact(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Two loaders of one server make its tables at once; one gets SIGKILL in the middle; each event is one row."""
    with Server(tmp_path / "server") as server:
        url = f"http://127.0.0.1:{server.port}"
        warehouse = {"type": "clickhouse", "url": url, "min_wait_s": 0.01, "max_wait_s": 0.2}
        running = two(kafka, topic_prefix, tmp_path, {WAREHOUSE: warehouse})
        async with open_log(kafka, topic_prefix) as log, running as processes:
            await shared(kafka, f"{topic_prefix}destination.{WAREHOUSE}")
            ids = await published(log, 0)
            await until(log, WAREHOUSE, lambda t: t.delivered == ROUND, 40)
            killed = asyncio.Event()
            publishing = asyncio.create_task(published_until(log, killed))
            await until(log, WAREHOUSE, lambda t: t.delivered > ROUND, 10)
            await kill(processes[0])
            killed.set()
            ids += await publishing
            totals = await until(log, WAREHOUSE, lambda t: t.delivered >= len(ids), TAKEOVER_S)
        engine = open_server(url, username="default", password="", timeout_s=10)
        try:
            rows = await asyncio.to_thread(engine.query, "SELECT message_id FROM headwater.events")
        finally:
            engine.close()
    assert (totals.read, totals.delivered) == (len(ids), len(ids))
    assert Counter(row[0] for row in rows) == Counter(ids)
