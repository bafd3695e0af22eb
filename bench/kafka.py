"""Cluster mode on one machine: `python -m bench.kafka [collector|processed|rows|takeover ...]` prints one JSON object.

One broker on loopback, which shares the cores with everything else. `collector` is the collector with acknowledgements by
Kafka (acks=all, idempotent) in turns with the floor probe of `bench.collector`; `processed` is HTTP to `events.processed`
with one processor, exactly once; `rows` the same into ClickHouse; `latency` acknowledged to queryable at half that load;
`takeover` how long the partitions of a killed processor stand still.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import uvicorn
import uvloop

from bench import collector as floor
from bench import system
from collector.app import build, uvicorn_options
from headwater.clock import SystemClock
from headwater.dev.kafka.cluster import Cluster
from headwater.log.open import open_log
from headwater.log.protocol import Log, TopicPartition
from headwater.log.topics import ACCEPTED, PROCESSED, PROFILES, TOTALS
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace
from processors import totals
from tests.support.running import Running, eventually

PARTITIONS = 2


def log_section(bootstrap: str, partitions: int = PARTITIONS) -> dict[str, Any]:
    """The workspace's `log`, with topics that nobody else uses."""
    return {
        "type": "kafka",
        "brokers": bootstrap.split(","),
        "partitions": partitions,
        "replication": 1,
        "min_insync_replicas": 1,
        "topic_prefix": f"bench{uuid.uuid4().hex[:8]}.",
    }


async def serve(folder: Path, section: str, listening: socket.socket) -> None:
    """A collector on Kafka, until it is killed."""
    settings = Workspace.model_validate({**floor.WORKSPACE, "log": json.loads(section)})
    live, data, clock = LiveWorkspace(settings), DataDir(folder).make(), SystemClock()
    async with open_log(settings.log, data, "collector", clock) as log:
        app = build(live, log, clock, data)
        await app.start()
        await uvicorn.Server(uvicorn.Config(app, **uvicorn_options())).serve([listening])


def start(folder: Path, section: dict[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
    """A collector on Kafka and its port."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port: int = listening.getsockname()[1]
    command = [sys.executable, "-m", "bench.kafka", "serve", str(folder), json.dumps(section)]
    process = subprocess.Popen([*command, str(listening.fileno())], pass_fds=[listening.fileno()])
    listening.close()
    return process, port


def collector(cluster: Cluster, folder: Path, rounds: int = 9, seconds: float = 2) -> dict[str, Any]:
    """Turns of the probe and of the collector on Kafka, for each load of `bench.collector`."""
    broker = psutil.Process(cluster.pid(1))
    servers = {
        "probe": floor.start("probe", folder),
        "kafka": start(folder / "kafka", log_section(cluster.bootstrap, 1)),
    }
    found: dict[str, Any] = {}
    try:
        for load in floor.LOADS:
            turns: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
            for number in range(rounds + 1):
                for name, (process, port) in servers.items():
                    before = sum(broker.cpu_times()[:2])
                    turn = floor.measure(psutil.Process(process.pid), port, load, seconds if number else 1.0)
                    turn["broker_cpu_s"] = sum(broker.cpu_times()[:2]) - before
                    if number:  # the first one warms up
                        turns[name].append(turn)
            found[load] = {
                name: {key: round(statistics.median(turn[key] for turn in mine), 2) for key in mine[0]}
                for name, mine in turns.items()
            }
            found[load]["rate_ratio"] = round(found[load]["kafka"]["rate"] / found[load]["probe"]["rate"], 3)
    finally:
        for process, _ in servers.values():
            process.kill()
            process.wait()
    return found


class Watched:
    """The pipeline's log seen from outside."""

    def __init__(self, section: dict[str, Any], folder: Path) -> None:
        self._settings = Workspace.model_validate({**floor.WORKSPACE, "log": section}).log
        self.prefix = str(section["topic_prefix"])
        self._data = DataDir(folder)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.log: Log = self._runner.run(open_log(self._settings, self._data, None).__aenter__())

    def close(self) -> None:
        """Let go of the log."""
        self._runner.run(self.log.__aexit__(None, None, None))
        self._runner.close()

    def processed(self) -> int:
        """Events that have left the processors, from the exact totals."""

        async def count() -> int:
            newest: dict[bytes | None, bytes | None] = {}
            tp = TopicPartition(TOTALS, 0)
            at, end = await self.log.bounds(tp)
            while at < end:
                batch = await self.log.read(tp, at)
                newest.update((record.key, record.value) for record in batch.records)
                at = max(batch.next_offset, at + 1)
            return sum(totals.decode(value).accepted for value in newest.values() if value)

        return self._runner.run(count())

    def ends(self) -> list[int]:
        """Where each partition of `events.processed` ends."""

        async def ends() -> list[int]:
            return [
                (await self.log.bounds(TopicPartition(PROCESSED, n))).end
                for n in range(self.log.partitions(PROCESSED))
            ]

        return self._runner.run(ends())


@contextmanager
def installation(cluster: Cluster, text: str) -> Iterator[tuple[Running, Watched]]:
    """A `headwater up` on the broker."""
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        section = log_section(cluster.bootstrap, int(os.environ.get("BENCH_PARTITIONS", PARTITIONS)))
        running = Running(Path(folder), f"{text}log: {json.dumps(section)}\n").start(wait=90)
        watched = Watched(section, Path(folder) / "watch")
        try:
            yield running, watched
        finally:
            watched.close()
            running.kill()


def _with_broker(cluster: Cluster, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` measured, with the broker's CPU an event."""
    broker = psutil.Process(cluster.pid(1))
    before = sum(broker.cpu_times()[:2])
    found = work()
    found["broker_us_per_event"] = round((sum(broker.cpu_times()[:2]) - before) / found["events"] * 1e6, 2)
    found["broker_rss_mb"] = round(broker.memory_info().rss / 1e6)
    return found


def processed(cluster: Cluster) -> dict[str, Any]:
    """HTTP to `events.processed`, exactly once, one processor."""
    with installation(cluster, system.WITHOUT_CLICKHOUSE) as (running, watched):
        system.flow(running, watched.processed, 4)
        found = _with_broker(cluster, lambda: system.flow(running, watched.processed, 15))
        found["disk_bytes_per_event"] = _disk(cluster, watched)
        return found


def _disk(cluster: Cluster, watched: Watched) -> dict[str, float]:
    """Bytes an event takes in each topic of one broker, compressed as the producers sent it."""
    events = watched.processed()
    found: dict[str, float] = {}
    for topic in (ACCEPTED, PROCESSED, PROFILES, TOTALS):
        folders = cluster.folder.rglob(f"{watched.prefix}{topic}-*")
        files = [file for folder in folders for file in folder.glob("*.log")]
        found[topic] = round(sum(file.stat().st_blocks * 512 for file in files) / events, 1)
    return found


def rows(cluster: Cluster) -> dict[str, Any]:
    """HTTP to ClickHouse rows, exactly once; then acknowledged to queryable at half that load."""
    with installation(cluster, system.WITH_CLICKHOUSE) as (running, _):
        system.flow(running, lambda: system.loaded(running), 4)
        found = _with_broker(cluster, lambda: system.flow(running, lambda: system.loaded(running), 15))
        found["latency"] = system.latency(running, found["end_to_end_per_s"] / 2)
        return found


def takeover(cluster: Cluster, times: int = 3) -> dict[str, Any]:
    """Seconds from SIGKILL of one of two processors until every partition moves again, under a light load."""
    seconds: list[float] = []
    with installation(cluster, system.WITHOUT_CLICKHOUSE) as (running, watched):
        background = subprocess.Popen(
            [sys.executable, "-m", "bench.load", "--port", str(running.port), "--batch", "10", "--seconds", "120",
             "--connections", "8", "--rate", "2000"], stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            seconds.extend(_one_takeover(running, watched, number) for number in range(times))
        finally:
            background.kill()
            background.wait()
    return {"seconds": [round(one, 1) for one in seconds], "median_s": round(statistics.median(seconds), 1)}


def _one_takeover(running: Running, watched: Watched, number: int) -> float:
    folder = running.dir.parent / f"other-{number}"
    other = subprocess.Popen(
        [sys.executable, "-m", "headwater", "processor", "--dir", str(folder), "--workspace", str(running.file)],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        eventually(
            lambda: any((folder / "state").glob("*/data.mdb")), seconds=60, what="the second processor"
        )
        _moving(watched)
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    began = time.monotonic()
    _moving(watched)
    return time.monotonic() - began


def _moving(watched: Watched) -> None:
    """Wait until every partition has moved on from where it is now."""
    before = watched.ends()
    eventually(
        lambda: all(now > then for now, then in zip(watched.ends(), before, strict=True)),
        seconds=90,
        what="every partition to move",
    )


def main(names: list[str]) -> dict[str, Any]:
    """Run the named measurements (default: all)."""
    wanted = names or ["collector", "processed", "rows", "takeover"]
    results: dict[str, Any] = {}
    parts: dict[str, Callable[[Cluster], dict[str, Any]]] = {
        "collector": lambda cluster: collector(cluster, cluster.folder),
        "processed": processed,
        "rows": rows,
        "takeover": takeover,
    }
    with (
        tempfile.TemporaryDirectory(prefix="headwater-bench-kafka-") as folder,
        Cluster(Path(folder) / "cluster") as cluster,
    ):
        for name in wanted:
            results[name] = parts[name](cluster)
            print(name, json.dumps(results[name]), file=sys.stderr)
    return results


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(serve(Path(sys.argv[2]), sys.argv[3], socket.socket(fileno=int(sys.argv[4]))))
    else:
        print(json.dumps(main(sys.argv[1:]), indent=2))
