"""All benches, one table and one JSON: `python -m bench [--quick]`, about eight minutes (two with --quick).

Each bench runs in processes of its own, interleaved with its floor probe where it has one. The table sets what was measured
beside what must be and what is aimed at (docs/performance.md); the JSON goes to bench/results/latest.json. Exit code 0 also
where a figure misses its mark: the machine may be busy. Read ratios first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from headwater.clock import SystemClock
from headwater.timestamps import iso

RESULTS = Path(__file__).parent / "results"


class Mark(NamedTuple):
    """One row: what is measured, what must be and what is aimed at (bounds from above or below), and where it is found."""

    name: str
    must: str
    aim: str
    value: Callable[[dict[str, Any]], float]
    unit: str


MARKS = (
    Mark("collector, singles, 64 connections: CPU against the probe", "<= 1.5", "<= 1.15",
         lambda r: r["collector"]["single"]["cpu_us_ratio"], "x"),
    Mark("collector, singles: rate against the probe", ">= 0.7", ">= 0.9",
         lambda r: r["collector"]["single"]["rate_ratio"], "x"),
    Mark("collector, batches of 100: CPU against the probe", "<= 1.5", "<= 1.15",
         lambda r: r["collector"]["batch"]["cpu_us_ratio"], "x"),
    Mark("collector, batches of 100: rate against the probe", ">= 0.7", ">= 0.9",
         lambda r: r["collector"]["batch"]["rate_ratio"], "x"),
    Mark("processors, all on, exactly once", ">= 60000", ">= 150000",
         lambda r: r["processors"]["worker_memory"]["events_per_s_core"], "events/s/core"),
    Mark("the same: CPU against a bare typed decode of the events", "<= 9.8", "<= 3.9",  # 60,000 of 588,000
         lambda r: r["processors"]["worker_memory"]["times_floor"], "x"),
    Mark("processors with the SQLite log's own work", ">= 60000", ">= 150000",
         lambda r: r["processors"]["worker_sqlite"]["events_per_s_core"], "events/s/core"),
    Mark("ClickHouse load, properties as JSON", ">= 22000", ">= 60000",
         lambda r: 1e6 / r["clickhouse_load"]["medians"]["columnar"]["cpu_us"], "rows/s/core"),
    Mark("ClickHouse, on disk", "<= 100", "<= 75", lambda r: r["clickhouse_load"]["bytes_row"], "B/row"),
    Mark("HTTP to ClickHouse rows, generator on the same cores", ">= 15000", ">= 45000",
         lambda r: r["system"]["end_to_end"]["end_to_end_per_s"], "events/s"),
    Mark("HTTP to processed events", ">= 40000", ">= 110000",
         lambda r: r["system"]["processors_only"]["end_to_end_per_s"], "events/s"),
    Mark("the processor's whole process in that run, SQLite and all", ">= 60000", ">= 150000",
         lambda r: 1e6 / r["system"]["processors_only"]["cpu_us_per_event"]["processor"], "events/s/core"),
    Mark("acknowledged to queryable at half load, p99", "<= 3", "<= 1",
         lambda r: r["system"]["latency"]["p99_s"], "s"),
    Mark("dedupe, RAM and disk", "<= 24", "<= 19",
         lambda r: r["dedupe"]["ram_bytes_per_key"] + r["dedupe"]["disk_bytes_per_key"], "B/key"),
    Mark("pipeline without ClickHouse at 20,000 events/s", "<= 400", "<= 200",
         lambda r: r["system"]["steady"]["total_rss_mb"], "MB RSS"),
    Mark("idle, all processes", "<= 1", "<= 0.2", lambda r: r["system"]["idle"]["total_percent"], "% of a core"),
)  # fmt: skip


def run(module: str, *args: str) -> dict[str, Any]:
    """Run one bench; its JSON (from stdout, or from the file it was asked to write)."""
    print(f"bench.{module} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        asked = [*args, "--json", str(file)] if module in ("collector", "clickhouse_load") else list(args)
        command = [sys.executable, "-m", f"bench.{module}", *asked]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900, check=True)
        return dict(json.loads(file.read_text() if file.exists() else done.stdout))


def met(value: float, bound: str) -> bool:
    """Whether a value keeps a bound such as `<= 1.5`."""
    sign, limit = bound.split()
    return value <= float(limit) if sign == "<=" else value >= float(limit)


def table(results: dict[str, Any]) -> str:
    """The rows, with what was kept."""
    lines = [f"{'':62}{'must':>10}{'aim':>11}{'measured':>12}"]
    for mark in MARKS:
        try:
            value = mark.value(results)
        except KeyError:
            continue
        word = "aim" if met(value, mark.aim) else "must" if met(value, mark.must) else "MISSED"
        shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
        lines.append(f"{mark.name:62}{mark.must:>10}{mark.aim:>11}{shown:>12} {mark.unit}  [{word}]")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and keys")
    parser.add_argument("--only", nargs="*", default=None, help="names of benches")
    options = parser.parse_args()
    quick = options.quick
    plans: dict[str, list[str]] = {
        "collector": ["--seconds", "1.5", "--rounds", "3"] if quick else ["--seconds", "3", "--rounds", "5"],
        "processors": ["--events", "20000"] if quick else [],
        "dedupe": ["--keys", "1000000"] if quick else [],
        "clickhouse_load": ["--rounds", "1"] if quick else ["--rounds", "3"],
        "system": [],
    }
    results: dict[str, Any] = {
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "at": iso(SystemClock().now_ms()),
        }
    }
    for name, args in plans.items():
        if options.only is None or name in options.only:
            results[name] = run(name, *args)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
