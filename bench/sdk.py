"""The SDKs beside Segment's, in turns: `python -m bench.sdk` runs the benches, prints the table of docs/sdk/performance.md.

The whole result is in bench/results/sdk.json afterwards. Takes more than six minutes; `make bench-sdk` builds what it needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
JAVASCRIPT = ROOT / "sdk" / "javascript" / "packages"
COMMANDS: dict[str, list[str]] = {
    "python": [sys.executable, str(ROOT / "sdk" / "python" / "bench")],
    "node": ["node", str(JAVASCRIPT / "node" / "bench" / "bench.mjs")],
    "browser": [sys.executable, str(JAVASCRIPT / "browser" / "bench" / "run.py")],
}
RESULT = ROOT / "bench" / "results" / "sdk.json"
LONGEST_S = 300


class Must(NamedTuple):
    """What was promised: in words, and as a question to ours and theirs."""

    words: str
    holds: Callable[[float, float], bool]


THIRD = Must("at most a third", lambda ours, theirs: ours <= theirs / 3)
THREE_TIMES = Must("at least 3 times", lambda ours, theirs: ours >= theirs * 3)
HALF = Must("at most half", lambda ours, theirs: ours <= theirs / 2)
FAST_IMPORT = Must("below 25 ms", lambda ours, _: ours < 25)
SMALL = Must("at most 5,120", lambda ours, _: ours <= 5_120)
NOTHING = Must("", lambda *_: True)

# Bench and measure, the figure in it, what it is, and what it must be.
ROWS: list[tuple[tuple[str, str], str, str, Must]] = [
    (("python", "call"), "call_us", "us that `track()` keeps its caller", THIRD),
    (("python", "throughput"), "events_s", "events a second into a bare server", THREE_TIMES),
    (("python", "throughput"), "cpu_us", "us of CPU an event, the whole way", NOTHING),
    (("python", "collector"), "events_s", "events a second into the collector, same cores", NOTHING),
    (("python", "memory"), "rss_mb", "MB of the process with 100,000 events queued", HALF),
    (("python", "memory"), "added_mb", "MB that they added", NOTHING),
    (("python", "import"), "import_ms", "ms to import", FAST_IMPORT),
    (("python", "drain"), "drain_s", "s from the end of an outage until 10,000 have arrived", NOTHING),
    (("node", "call"), "call_us", "us that `track()` keeps its caller", THIRD),
    (("node", "call"), "turn_us", "us of the turn of the event loop, a call", NOTHING),
    (("node", "throughput"), "per_s", "events a second into a bare server", THREE_TIMES),
    (("node", "throughput"), "cpu_us", "us of CPU an event, the whole way", NOTHING),
    (("node", "memory"), "rss_mb", "MB of the process with 100,000 events queued", HALF),
    (("node", "memory"), "heap_mb", "MB of heap and buffers then, after a collection", NOTHING),
    (("node", "import"), "ms", "ms to import", FAST_IMPORT),
    (("node", "drain"), "after_s", "s from the end of an outage until 10,000 have arrived", NOTHING),
    (("browser", ""), "call_us", "us that `track()` keeps its caller", THIRD),
    (("browser", ""), "event_us", "us of main thread an event, until it is delivered", NOTHING),
    (("browser", ""), "load_ms", "ms of main thread to load and be ready", NOTHING),
]
SIZES = {"headwater.core.js": SMALL, "headwater.js": NOTHING, "headwater.full.js": NOTHING}
MORE_IS_BETTER = {"events_s", "per_s"}
THEIRS = {"python": "segment", "node": "segment", "browser": "analytics-next"}


def run(name: str) -> dict[str, Any]:
    """Run one bench to its end."""
    done = subprocess.run(
        COMMANDS[name], capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(COMMANDS[name])}: {done.returncode}\n{done.stderr}")
    return dict(json.loads(done.stdout))


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """The lines of the table."""
    lines = ["| | must | ours | theirs | times better |", "|---|---|---|---|---|"]
    for (bench, measure), figure, what, must in ROWS:
        found = results[bench][measure] if measure else results[bench]
        ours, theirs = found["headwater"][figure], found[THEIRS[bench]][figure]
        more = figure in MORE_IS_BETTER
        lines.append(line(f"{bench}: {what}", must, ours, theirs, more_is_better=more))
    sizes = results["browser"]["bytes_gzipped"]
    lines += [
        line(f"browser: bytes of {name}, gzipped", must, sizes[name], sizes["analytics-next"])
        for name, must in SIZES.items()
    ]
    return lines


def line(what: str, must: Must, ours: float, theirs: float, *, more_is_better: bool = False) -> str:
    """One row: how many times better ours is, and whether a must is missed."""
    better, worse = (ours, theirs) if more_is_better else (theirs, ours)
    times = f"{better / worse:.1f}" if worse else ""
    verdict = "" if must.holds(ours, theirs) else " **missed**"
    return f"| {what} | {must.words} | {ours:,.6g} | {theirs:,.6g} | {times}{verdict} |"


def main() -> None:
    """Run all, keep the result, print the table."""
    results = {name: run(name) for name in COMMANDS}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=2))
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
