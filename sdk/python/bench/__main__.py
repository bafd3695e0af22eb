"""`python sdk/python/bench [--quick]`: this SDK beside segment-analytics-python, in turns, each figure in a fresh process.

Prints JSON. What is shown is the median of the rounds; `ratio` is theirs by ours, or ours by theirs where more is better.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SDKS = ("headwater", "segment")
OUTAGE_S = 3.0
MODULES = {"headwater": "headwater_sdk", "segment": "segment.analytics"}
MORE_IS_BETTER = {"events_s"}
# measure: what the server does, most rounds
MEASURES = {
    "call": ("silent", 7),
    "memory": ("silent", 3),
    "throughput": ("0", 5),
    "drain": (str(OUTAGE_S), 3),
}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
    "PYTHONPATH": str(HERE.parent / "src"),
    "PYTHONDONTWRITEBYTECODE": "",  # an installed package is compiled
    "PYTHONPYCACHEPREFIX": tempfile.gettempdir() + "/headwater-bench-pycache",
}


def run(*arguments: str) -> str:
    """Run Python to its end; what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=ENVIRONMENT,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.returncode}\n{done.stderr}")
    return done.stdout


def with_server(sdk: str, what: str, kind: str) -> dict[str, float]:
    """Measure against the bare server; it must have got every event exactly once where it answers."""
    command = [sys.executable, str(HERE / "server.py"), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        host = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        found: dict[str, float] = json.loads(run(str(HERE / "client.py"), sdk, what, host))
        seen = json.loads(server.communicate(timeout=30)[0] or "{}")
    if what == "drain":
        return {"drain_s": seen["after_s"], "arrived": seen["events"], "again": seen["again"]}
    if what == "throughput":
        return {**found, "arrived": seen["events"]}
    return found


def importing(sdk: str) -> dict[str, float]:
    """Measure how long a fresh interpreter takes for the import, without what it takes to start."""
    script = (
        f"import time; t = time.perf_counter(); import {MODULES[sdk]}; print((time.perf_counter() - t) * 1e3)"
    )
    return {"import_ms": float(run("-c", script))}


def to_the_collector() -> dict[str, Any]:
    """Measure throughput into a real collector with its processors behind it, on the same cores."""
    sys.path.insert(0, str(ROOT))
    from tests.support.running import WORKSPACE, Running

    workspace = WORKSPACE.split("destinations:", maxsplit=1)[0]
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        running = Running(Path(folder), workspace).start()
        try:
            return {
                sdk: rounded(json.loads(run(str(HERE / "client.py"), sdk, "throughput", running.url)))
                for sdk in SDKS
            }
        finally:
            running.stop()


def compared(what: str, rounds: int) -> dict[str, Any]:
    """Take turns; medians and ratios."""
    kind, most = MEASURES.get(what, ("", 15))
    for sdk in SDKS if what == "import" else ():
        importing(sdk)  # compiles
    results: dict[str, list[dict[str, float]]] = {sdk: [] for sdk in SDKS}
    for _ in range(min(rounds, most)):
        for sdk in SDKS:
            results[sdk].append(importing(sdk) if what == "import" else with_server(sdk, what, kind))
    ours, theirs = (
        {key: statistics.median(one[key] for one in results[sdk]) for key in results[sdk][0]} for sdk in SDKS
    )
    ratios = {
        key: ours[key] / theirs[key] if key in MORE_IS_BETTER else theirs[key] / ours[key]
        for key in ours
        if key not in ("arrived", "again")
    }
    return {"headwater": rounded(ours), "segment": rounded(theirs), "ratio": rounded(ratios)}


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Three digits say it."""
    return {
        key: value if float(value).is_integer() else float(f"{value:.3g}") for key, value in values.items()
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of each")
    parser.add_argument("--only", nargs="*", choices=["import", *MEASURES, "collector"])
    options = parser.parse_args()
    wanted = options.only or ["import", *MEASURES, "collector"]
    began = time.monotonic()
    report: dict[str, Any] = {"python": platform.python_version(), "cpus": os.cpu_count()}
    for what in wanted:
        report[what] = (
            to_the_collector() if what == "collector" else compared(what, 1 if options.quick else 15)
        )
    report["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
