"""A cluster under load while everything happens to it, then the books.

`python -m tests.crash.kafka --rounds 100` runs brokers behind proxies, two collectors, processors and a destinations
process as separate `headwater` processes on loopback; at random instants one calamity after another (`calamities.py`),
two of them at a time; then it heals, drains, and compares three books that know nothing of each other: what clients were told
(`ledger.py`), what a plain read_committed consumer finds in the topics (`audit.py`), and ClickHouse's base table. It prints
a JSON report and exits 1 where anything acknowledged is lost, anything is there twice, the sums differ, or a process ended
by itself; the folder it worked in is kept then, and the report says where in it the whole log of every process is.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tests.crash import audit
from tests.crash.calamities import Calamity, Draw, deck
from tests.crash.fleet import WAREHOUSE, Fleet
from tests.crash.ledger import Ledger, finish, senders
from tests.support.running import eventually

DRAIN_S = 180.0
AT_ONCE = 2  # calamities that may overlap
FENCED = "was claimed again"  # what a zombie's log says


class Storm:
    """Calamities one after another, each in a thread of its own, none of two on the same thing."""

    def __init__(self, fleet: Fleet, rng: random.Random, draws: list[Draw]) -> None:
        self.fleet, self.rng, self.draws = fleet, rng, draws
        self.happened: Counter[str] = Counter()
        self.by_themselves: list[str] = []
        self._under_way: dict[Future[None], frozenset[str]] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, "calamity")
        self._hand: list[Draw] = []

    def rounds(self, number: int, seconds: float) -> None:
        """So many calamities, one about every `seconds`; returns when the last one is mended."""
        for _ in range(number):
            self._await_room(AT_ONCE - 1)
            chosen = self._choose()
            self.happened[chosen.name] += 1
            self._under_way[self._pool.submit(_happen, chosen)] = chosen.holds
            time.sleep(self.rng.uniform(0.2, 1.8) * seconds)
            self._watch()
        self._await_room(0)
        self._pool.shutdown()
        self._watch()

    def _await_room(self, most: int) -> None:
        """Wait until no more than `most` are under way; raises what one of them raised."""
        while True:
            for done in [future for future in self._under_way if future.done()]:
                self._under_way.pop(done)
                done.result()
            if len(self._under_way) <= most:
                return
            wait(self._under_way, timeout=0.5, return_when="FIRST_COMPLETED")

    def _choose(self) -> Calamity:
        """The next one that hits nothing which is being hit."""
        while True:
            if not self._hand:
                self._hand = self.rng.sample(self.draws, len(self.draws))
            chosen = self._hand.pop()(self.fleet, self.rng)
            if not any(chosen.holds & holds for holds in self._under_way.values()):
                return chosen

    def _watch(self) -> None:
        """As a supervisor: what has ended without being killed by us is started again, and told."""
        busy = {name for holds in self._under_way.values() for name in holds}
        self.by_themselves += self.fleet.revive(busy)


def _happen(calamity: Calamity) -> None:
    calamity.hit()
    time.sleep(calamity.lasts_s)
    calamity.mend()


def crash(
    folder: Path,
    *,
    rounds: int,
    seed: int,
    brokers: int = 1,
    seconds_per_round: float = 4,
    clients: int = 8,
    processors: int = 2,
    draws: list[Draw] | None = None,
) -> dict[str, Any]:
    """Run the whole experiment in `folder`; the report, with `problems` empty where every promise was kept."""
    rng = random.Random(seed)
    ledger, began = Ledger(), time.monotonic()
    with Fleet(folder, brokers=brokers, processors=processors) as fleet:
        fleet.wait_ready()
        load = senders(ledger, clients, fleet.ports, seed, pause=0.1, patience_s=180)
        for sender in load:
            sender.start()
        storm = Storm(fleet, rng, draws or deck(brokers))
        stormy = time.monotonic()
        storm.rounds(rounds, seconds_per_round)
        fleet.heal()
        calm = time.monotonic()
        problems = finish(load)
        told = {
            "rounds": rounds,
            "seed": seed,
            "brokers": brokers,
            "happened": dict(sorted(storm.happened.items())),
        }
        found = balance(fleet, ledger)
        problems += [*storm.by_themselves, *found.pop("problems")]
        found["zombies_fenced"] = sum(host.said(FENCED) for host in fleet.of("processor"))
        return {
            **told,
            "seconds": {"storm": round(calm - stormy, 1), "all": round(time.monotonic() - began, 1)},
            "attempts": ledger.attempts,
            "refused": ledger.refused,
            **found,
            "problems": problems,
            "logs": {name: str(path) for name, path in fleet.logs().items()} if problems else {},
            "tails": {name: host.tail() for name, host in fleet.hosts.items()} if problems else {},
        }


def balance(fleet: Fleet, ledger: Ledger) -> dict[str, Any]:
    """Wait until everything has flowed through, then compare the books."""
    expected = len(ledger.acknowledged)
    began = time.monotonic()
    problems = list(_drained(fleet, expected))
    drained = round(time.monotonic() - began, 1)
    seen, rows, funnel = audit.look(fleet.cluster.bootstrap), fleet.rows(), fleet.status()
    faults = audit.verdict(ledger.acknowledged, seen.processed, rows)
    problems += [
        f"{name}: {fault['count']}, {fault['ids']}" for name, fault in faults.items() if fault["count"]
    ]
    problems += audit.books(seen, sum(rows.values()), funnel, WAREHOUSE)
    return {
        "acknowledged": expected,
        "accepted": seen.accepted,
        "processed": seen.processed.total(),
        "dropped": seen.reasons,
        "rows": sum(rows.values()),
        **{name: fault["count"] for name, fault in faults.items()},
        "drain_seconds": drained,
        "problems": problems,
    }


def _drained(fleet: Fleet, expected: int) -> Iterator[str]:
    """Wait for the table and the funnel to stand still; yields what does not come in time."""

    def arrived() -> bool:
        return int(fleet.sql("SELECT uniqExact(message_id) AS n FROM headwater.events")[0]["n"]) >= expected

    def settled() -> bool:
        funnel = fleet.status()
        flow = funnel["destinations"][WAREHOUSE]
        return bool(funnel["in_flight"] == 0 and flow["lag"] == 0 and flow["read"] == funnel["processed"])

    for check, what in (
        (arrived, "all acknowledged events in the base table"),
        (settled, "nothing in flight"),
    ):
        try:
            eventually(check, seconds=DRAIN_S, what=what)
        except AssertionError as late:
            yield str(late)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("--seconds-per-round", type=float, default=4)
    parser.add_argument(
        "--folder", type=Path, help="an empty folder to work in; without it, one that stays on a failure"
    )
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="headwater-crash-kafka-"))
    print(f"working in {folder}", file=sys.stderr)
    report = crash(
        folder,
        rounds=options.rounds,
        seed=options.seed,
        brokers=options.brokers,
        processors=options.processors,
        seconds_per_round=options.seconds_per_round,
    )
    for name, tail in report.pop("tails").items():
        print(f"--- {name}\n{tail}", file=sys.stderr)
    print(json.dumps(report, indent=2))
    if not report["problems"] and options.folder is None:
        shutil.rmtree(folder)
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
