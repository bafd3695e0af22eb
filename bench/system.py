"""The whole system, measured from outside: end to end, latency, idle, overload, memory. Loopback only.

`python -m bench.system [end_to_end|processors_only|latency|idle|overload ...]` prints one JSON object.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from headwater.log.protocol import TopicPartition
from headwater.log.sqlite_reader import Reader
from headwater.log.topics import TOTALS
from processors import totals
from tests.support.running import Running, eventually

PROBE_S, LOOK_S = 0.25, 0.1  # between the events whose latency is measured, and between looks for them
WITH_CLICKHOUSE = """\
workspace: bench
sources:
  web: {kind: browser, write_keys: [wk_web]}
destinations:
  warehouse: {type: clickhouse}
"""
OVERLOADED = WITH_CLICKHOUSE + "limits: {inflight_requests: 128}\n"
WITHOUT_CLICKHOUSE = WITH_CLICKHOUSE.split("destinations:", maxsplit=1)[0]


def load(
    port: int, *, batch: int, seconds: float, connections: int, rate: float | None = None
) -> dict[str, Any]:
    """Run the generator to its end."""
    args = ["--port", port, "--batch", batch, "--seconds", seconds, "--connections", connections]
    if rate is not None:
        args += ["--rate", rate]
    command = [sys.executable, "-m", "bench.load", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    return dict(json.loads(done.stdout))


def stages(running: Running) -> dict[str, psutil.Process]:
    """The child processes by stage."""
    return {stage: running.child(stage) for stage in ("collector", "processor", "destination")}


def cpu(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """CPU seconds of each process so far."""
    return {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}


def rss(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """Resident memory of each process, MB."""
    return {name: round(process.memory_info().rss / 1e6, 1) for name, process in processes.items()}


def processed(running: Running) -> int:
    """Events that have left the processors, from the exact totals; read here, as a command a look would cost a core."""
    reader = Reader(running.dir / "log" / "processor.db")
    try:
        records = reader.read(TopicPartition(TOTALS, 0), 0, 1 << 20, compacted=True).records
    finally:
        reader.close()
    return sum(totals.decode(record.value or b"").accepted for record in records)


def flow(running: Running, arrived: Callable[[], int], seconds: float) -> dict[str, Any]:
    """Batches of 100 as fast as they are answered, until all of it has arrived at the end."""
    processes = stages(running)
    before, already, started = cpu(processes), arrived(), time.monotonic()
    sent = load(running.port, batch=100, seconds=seconds, connections=8)
    eventually(lambda: arrived() - already >= sent["events"], seconds=120, what="all events at the end")
    elapsed = time.monotonic() - started
    after = cpu(processes)
    return {
        "events": sent["events"],
        "accepted_per_s": sent["events_per_s"],
        "end_to_end_per_s": round(sent["events"] / elapsed),
        "cpu_us_per_event": {
            name: round((after[name] - before[name]) / sent["events"] * 1e6, 2) for name in processes
        },
        "generator_us_per_event": round(sent["generator_cpu_s"] / sent["events"] * 1e6, 2),
        "rss_mb": rss(processes),
        "answers_other_than_200": sent["other"],
    }


def loaded(running: Running) -> int:
    """Rows of the base table, duplicates included; waits for a new installation to have it."""
    return eventually(lambda: [running.count("1")], what="the table")[0]


def end_to_end(running: Running) -> dict[str, Any]:
    """HTTP to ClickHouse rows, exactly once."""
    flow(running, lambda: loaded(running), 3)  # warm-up
    return flow(running, lambda: loaded(running), 15)


def processors_only(running: Running) -> dict[str, Any]:
    """HTTP to processed events; no destination."""
    flow(running, lambda: processed(running), 3)
    return flow(running, lambda: processed(running), 15)


def latency(running: Running, rate: float) -> dict[str, Any]:
    """Acknowledged to queryable, while the generator sends at `rate` events a second."""
    background = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bench.load",
            "--port",
            str(running.port),
            "--batch",
            "100",
            "--seconds",
            "25",
            "--connections",
            "8",
            "--rate",
            str(rate),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    processes = stages(running)
    before = cpu(processes)
    time.sleep(3)
    samples = sorted(_probed(running, lambda: background.poll() is None))
    output, _ = background.communicate(timeout=60)
    after, sent = cpu(processes), json.loads(output)
    return {
        "background_events_per_s": sent["events_per_s"],
        "cpu_us_per_event": {
            name: round((after[name] - before[name]) / sent["events"] * 1e6, 2) for name in processes
        },
        "samples": len(samples),
        "p50_s": round(statistics.median(samples), 3),
        "p99_s": round(samples[int(len(samples) * 0.99)], 3),
    }


def _probed(running: Running, going_on: Callable[[], bool]) -> Iterator[float]:
    """Seconds from acknowledged to queryable of one event after the other, to a tenth of a second.

    One query looks for all that wait: asking for each of them often is a load of its own.
    """
    waiting: dict[str, float] = {}
    due = give_up = time.monotonic()
    while going_on() or (waiting and time.monotonic() < give_up):
        began = time.monotonic()
        if began >= due and going_on():
            message = f"probe-{uuid.uuid4().hex}"
            event = {"writeKey": "wk_web", "event": "Probe", "anonymousId": message, "messageId": message}
            status, _ = running.post("/v1/track", event)
            assert status == 200
            waiting[message] = time.monotonic()
            due, give_up = began + PROBE_S, began + 30
        if waiting:
            names = ", ".join(f"'{name}'" for name in waiting)
            where = f"type = 'track' AND event_text = 'Probe' AND message_id IN ({names})"
            found = running.sql(f"SELECT message_id FROM headwater.events WHERE {where}", final=False)
            now = time.monotonic()
            for row in found:
                yield now - waiting.pop(row["message_id"])
        time.sleep(max(0.0, began + LOOK_S - time.monotonic()))
    assert not waiting, f"{len(waiting)} events were not queryable within 30 s"


def idle(running: Running, seconds: float = 15) -> dict[str, Any]:
    """CPU of each process while nothing happens, as a percentage of one core.

    What came before is over then: merges have ended, and the processor has written its state down (30 s later).
    """
    time.sleep(35)
    processes = {**stages(running), "supervisor": running.family()[0]}
    before = cpu(processes)
    time.sleep(seconds)
    after = cpu(processes)
    used = {name: round((after[name] - before[name]) / seconds * 100, 2) for name in processes}
    return {
        "percent_of_a_core": used,
        "total_percent": round(sum(used.values()), 2),
        "rss_mb": rss(processes),
    }


def steady(running: Running, rate: float = 20_000) -> dict[str, Any]:
    """Memory of the pipeline at a steady rate."""
    sent = load(running.port, batch=100, seconds=15, connections=8, rate=rate)
    memory = rss(stages(running))
    return {
        "events_per_s": sent["events_per_s"],
        "rss_mb": memory,
        "total_rss_mb": round(sum(memory.values()), 1),
    }


def overload(running: Running) -> dict[str, Any]:
    """Three times the requests that are let in at once, and no pacing: refusals must be fast and memory flat.

    A flood's own latencies are mostly the generator's, which has hundreds of answers to read at once; so a quiet client, a
    process of its own with few small requests, measures how long a refusal takes meanwhile. Memory is read after a first
    flood and after the second one: the first fills what admission allows, the second may add nothing.
    """
    processes = stages(running)
    idle_mb = rss(processes)
    load(running.port, batch=100, seconds=5, connections=384)
    before = rss(processes)
    with ThreadPoolExecutor(1) as pool:
        flood = pool.submit(load, running.port, batch=100, seconds=10, connections=384)
        quiet = load(running.port, batch=1, seconds=9, connections=4, rate=200)
        sent = flood.result()
    return {
        "flood": sent,
        "quiet_client": quiet,
        "rss_idle_mb": idle_mb,
        "rss_before_mb": before,
        "rss_after_mb": rss(processes),
    }


def main(names: list[str]) -> dict[str, Any]:
    """Run the named measurements (default: all) on fresh installations."""
    wanted = names or ["processors_only", "steady", "end_to_end", "latency", "idle", "overload"]
    results: dict[str, Any] = {}
    for text, group in (
        (WITHOUT_CLICKHOUSE, ("processors_only", "steady")),
        (WITH_CLICKHOUSE, ("end_to_end", "latency", "idle")),
        (OVERLOADED, ("overload",)),
    ):
        chosen = [name for name in group if name in wanted]
        if not chosen:
            continue
        with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
            running = Running(Path(folder), text).start()
            try:
                for name in chosen:
                    if name == "latency":
                        rate = results.get("end_to_end", {}).get("end_to_end_per_s", 20_000) / 2
                        results[name] = latency(running, rate)
                    else:
                        results[name] = globals()[name](running)
                    print(name, json.dumps(results[name]), file=sys.stderr)
            finally:
                running.kill()
    return results


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:]), indent=2))
