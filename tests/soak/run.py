"""Send with every SDK through bad weather while processes are killed, then compare their reports with the base table.

`python -m tests.soak.run --events 100000` prints a JSON report and exits 1 when anything is lost, stands twice in the base
table, or is missing in a report. Loopback only; processes are cleaned up by pid. Merges are off, queries are without FINAL.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.soak.programs import Sent, send, send_and_be_killed
from tests.soak.tabs import MOST_AT_RISK, browse
from tests.soak.weather import Weather
from tests.support.running import Running, eventually

WORKSPACE = """\
workspace: soak
sources:
  web: {kind: browser, write_keys: [wk_web]}
  api: {kind: server, write_keys: [wk_api]}
destinations:
  warehouse: {type: clickhouse, merges: false}
"""
SHOWN = 20
# Shares of the events; the rest is the browser's.
SHARES = {"python": 0.3, "python-asyncio": 0.1, "python-bounded": 0.1, "python-durable": 0.1, "node": 0.3}
LEAVES = 2  # tabs that go while events are under way


class Killer:
    """SIGKILLs the collector again and again, from a thread; `headwater up` starts it anew."""

    def __init__(self, running: Running, seed: int, pause_s: tuple[float, float]) -> None:
        self.kills = 0
        self._running, self._rng, self._pause_s = running, random.Random(seed), pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(self._rng.uniform(*self._pause_s)):
            self._running.child("collector").kill()
            self.kills += 1
            eventually(self._answers, seconds=60, what="a collector that answers again")

    def _answers(self) -> bool:
        return (
            self._stop.is_set()
            or self._running.post("/v1/batch", {"batch": [], "writeKey": "wk_api"})[0] == 200
        )


def soak(
    folder: Path, *, events: int, size: int, seed: int, kills: int, pause_s: tuple[float, float]
) -> dict[str, Any]:
    """Run the whole experiment; the report, whose `faults` is empty where all is well. `size`: events of a request."""
    running = Running(folder, WORKSPACE).start()
    began = time.monotonic()
    try:
        with Weather(running.port, seed) as weather, Killer(running, seed, pause_s) as killer:
            sent = send_all(weather.url, folder / "spill", events, size, kills)
        sending_s = time.monotonic() - began
        rows = arrived(running, sent)
        return {
            "events": events,
            "seed": seed,
            "seconds": round(sending_s, 1),
            "requests": dict(weather.met),
            "collector_kills": killer.kills,
            "senders": {one.kind: summary(one, rows[one.event]) for one in sent},
            "faults": [fault for one in sent for fault in faults(one, rows[one.event])],
        }
    finally:
        running.kill()


def send_all(host: str, spill: Path, events: int, size: int, kills: int) -> list[Sent]:
    """All senders at once, the browser in this thread, as Playwright wants it."""
    counts = {kind: int(events * share) for kind, share in SHARES.items()}
    with ThreadPoolExecutor(len(counts)) as pool:
        futures = []
        for kind, count in counts.items():
            event = f"soak {kind}"
            if kind == "python-durable":
                futures.append(
                    pool.submit(timed, send_and_be_killed, kind, host, event, size, count, kills, spill)
                )
            else:
                futures.append(pool.submit(timed, send, kind, host, event, size, count))
        browser = timed(browse, host, "soak browser", size, events - sum(counts.values()))
        return [*(future.result() for future in futures), browser]


def timed(how: Callable[..., Sent], *arguments: object) -> Sent:
    """Send, and note how long it took."""
    began = time.monotonic()
    sent = how(*arguments)
    sent.seconds = time.monotonic() - began
    return sent


def arrived(running: Running, sent: Iterable[Sent]) -> dict[str, Counter[int]]:
    """How often each number of each sender stands in the base table, once all that must be there is."""
    expected = sum(len(one.certain) or one.counts["delivered"] for one in sent)

    def there() -> bool:
        return running.count("1") >= expected

    try:
        eventually(there, seconds=60, what=f"{expected} rows")
    except AssertionError as error:
        print(error)  # the comparison says what is missing
    query = (
        "SELECT event_text AS event, toInt64(properties.n) AS n, count() AS copies "
        "FROM headwater.events GROUP BY event, n"
    )
    rows: dict[str, Counter[int]] = defaultdict(Counter)
    for row in running.sql(query, final=False):
        rows[str(row["event"])][int(row["n"])] += int(row["copies"])
    return rows


def summary(sent: Sent, rows: Counter[int]) -> dict[str, int]:
    """A sender's line of the report."""
    lost = sent.certain - rows.keys()
    twice = sum(1 for copies in rows.values() if copies > 1)
    return {
        **sent.counts,
        "rows": rows.total(),
        "lost": len(lost),
        "twice": twice,
        "killed": sent.kills,
        "seconds": round(sent.seconds),
    }


def faults(sent: Sent, rows: Counter[int]) -> list[str]:
    """What is wrong: with the table, and with what the SDK reported."""
    found = []
    if lost := sorted(sent.certain - rows.keys()):
        found.append(f"{sent.kind}: {len(lost)} lost: {lost[:SHOWN]}")
    if twice := sorted(number for number, copies in rows.items() if copies > 1):
        found.append(f"{sent.kind}: {len(twice)} twice: {twice[:SHOWN]}")
    if strange := sorted(rows.keys() - set(sent.numbers)):
        found.append(f"{sent.kind}: {len(strange)} that nobody sent: {strange[:SHOWN]}")
    return found + [f"{sent.kind}: {problem}" for problem in disagreements(sent, rows)]


def disagreements(sent: Sent, rows: Counter[int]) -> Iterable[str]:
    """Where the reports do not add up, or say something else than the table."""
    counts = sent.counts
    if counts["queued"]:
        yield f"{counts['queued']} still queued at the end"
    if sent.kills:
        return  # a killed process made no report
    settled = counts["delivered"] + counts["rejected"] + counts["dropped"]
    unheard = MOST_AT_RISK * LEAVES if sent.kind == "browser" else 0
    if not 0 <= counts["called"] - settled <= unheard:
        yield f"{counts['called']} calls, {settled} in the reports: {counts}"
    if not 0 <= rows.total() - counts["delivered"] <= unheard:
        yield f"{counts['delivered']} delivered by the reports, {rows.total()} rows"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs of the durable sender")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headwater-soak-") as folder:
        report = soak(
            Path(folder),
            events=options.events,
            size=100,
            seed=options.seed,
            kills=options.kills,
            pause_s=(3, 8),
        )
    print(json.dumps(report, indent=2))
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
