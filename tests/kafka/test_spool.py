"""The collector's log on a real Kafka that dies and comes back: acknowledged through the spool, drained in order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headwater.clock import SystemClock
from headwater.dev.kafka.cluster import Cluster
from headwater.log.open import open_log
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.log.spool import SpooledLog
from headwater.log.topics import ACCEPTED
from headwater.paths import DataDir
from headwater.workspace.model import KafkaLogSettings
from tests.contracts.log.harness import read_all

pytestmark = pytest.mark.kafka
PARTITIONS = 2
ANSWER_S = 8.0  # far more than spool.HOLD_S, for a busy machine; far less than the outage


async def test_a_broker_that_is_killed_under_load_costs_no_acknowledgement_and_no_order(
    tmp_path: Path,
) -> None:
    """SIGKILL while a client writes: every append is answered in bounded time, and all is in Kafka once it is back."""
    with Cluster(tmp_path / "kafka") as cluster:
        settings = KafkaLogSettings(
            brokers=[cluster.bootstrap], partitions=PARTITIONS, replication=1, min_insync_replicas=1
        )
        async with open_log(settings, DataDir(tmp_path / "data"), "collector", SystemClock()) as log:
            assert isinstance(log, SpooledLog)
            stop, told, slowest = asyncio.Event(), list[int](), 0.0
            loop = asyncio.get_running_loop()

            async def write() -> None:
                nonlocal slowest
                while not stop.is_set():
                    number, began = len(told), loop.time()
                    await log.append([Entry(ACCEPTED, number % PARTITIONS, Record(b"%d" % number))])
                    slowest = max(slowest, loop.time() - began)
                    told.append(number)
                    await asyncio.sleep(0.005)

            async def until_spooling(*, wanted: bool) -> None:
                async with asyncio.timeout(60):
                    while log.state.spooling is not wanted:
                        await asyncio.sleep(0.02)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write())
                while len(told) < 20:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(cluster.kill, 1)
                await until_spooling(wanted=True)
                during = len(told)
                while len(told) < during + 50:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(cluster.restart, 1)
                await until_spooling(wanted=False)
                after = len(told)
                while len(told) < after + 20:
                    await asyncio.sleep(0.01)
                stop.set()
            assert slowest < ANSWER_S
            for partition in range(PARTITIONS):
                found = [
                    int(r.value or b"") for r in await read_all(log, TopicPartition(ACCEPTED, partition))
                ]
                assert list(dict.fromkeys(found)) == [n for n in told if n % PARTITIONS == partition]
        assert list((tmp_path / "data" / "spool").glob("*.spool")) == []


def test_only_the_collectors_log_on_kafka_has_a_spool(tmp_path: Path) -> None:
    """Processors and destinations wait for the log; a spool of 0 bytes is none."""
    settings = KafkaLogSettings(brokers=["localhost:1"])
    opened = {
        writer: isinstance(open_log(settings, DataDir(tmp_path), writer), SpooledLog)
        for writer in ("collector", "processor", "destinations", None)
    }
    assert opened == {"collector": True, "processor": False, "destinations": False, None: False}
    off = settings.model_copy(update={"spool_bytes": 0})
    assert not isinstance(open_log(off, DataDir(tmp_path), "collector"), SpooledLog)
