"""Kill processes at random instants under load, then balance the books.

`python -m tests.crash.run --rounds 100` prints a JSON report and exits 1 when anything acknowledged is lost or stands twice
in the base table. Loopback only, bounded by rounds, processes are cleaned up by pid.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from tests.crash.ledger import Ledger, finish, senders
from tests.support.running import Running, eventually

TARGETS = ("collector", "processor", "destination", "supervisor", "all", "all children")
WORKSPACE = """\
workspace: crash
sources:
  api: {kind: server, write_keys: [wk_api]}
destinations:
  warehouse: {type: clickhouse, merges: false}
log: {partitions: %d}
"""


def crash(folder: Path, *, rounds: int, seed: int, clients: int = 6, partitions: int = 2) -> dict[str, Any]:
    """Run the whole experiment in `folder`; the report, with `lost` and `twice` as lists of ids (at most 20)."""
    rng = random.Random(seed)
    running = Running(folder, WORKSPACE % partitions).start()
    ledger = Ledger()
    load = senders(ledger, clients, [running.port], seed, pause=0.02)
    killed: Counter[str] = Counter()
    started = time.monotonic()
    try:
        for sender in load:
            sender.start()
        for _ in range(rounds):
            time.sleep(rng.uniform(0.05, 1.5))
            target = rng.choice(TARGETS)
            killed[target] += 1
            _kill(running, target)
        problems = finish(load)
        return {
            "rounds": rounds,
            "seed": seed,
            "killed": dict(killed),
            "seconds": round(time.monotonic() - started, 1),
            "attempts": ledger.attempts,
            "problems": problems,
            **_balance(running, ledger),
        }
    finally:
        running.kill()


def _kill(running: Running, target: str) -> None:
    """SIGKILL the target; a killed supervisor is started again as its operator would."""
    if target in ("supervisor", "all", "all children"):
        family = running.family()
        victims = {"supervisor": family[:1], "all": family, "all children": family[1:]}[target]
        for process in victims:
            process.kill()
        psutil.wait_procs(victims, timeout=10)
        if target != "all children":
            running.kill()
            running.start(wait=60)
        return
    try:
        running.child(target).kill()
    except (AssertionError, psutil.NoSuchProcess):
        return  # just being restarted from the round before


def _balance(running: Running, ledger: Ledger) -> dict[str, Any]:
    """Compare the ledger with the base table once everything has flowed through."""
    expected = len(ledger.acknowledged)

    def arrived() -> bool:
        return int(running.sql("SELECT uniqExact(message_id) AS n FROM headwater.events")[0]["n"]) >= expected

    try:
        eventually(arrived, seconds=90, what="all acknowledged events in the base table")
        in_time = True
    except AssertionError:
        in_time = False
    rows = running.sql("SELECT message_id AS id, count() AS n FROM headwater.events GROUP BY id", final=False)
    found = {str(row["id"]): int(row["n"]) for row in rows}
    lost = sorted(ledger.acknowledged - found.keys())
    twice = sorted(key for key, number in found.items() if number > 1)
    status = json.loads(running.run("status", "--json").stdout)
    return {
        "acknowledged": expected,
        "rows": sum(found.values()),
        "unanswered_but_stored": len(found.keys() - ledger.acknowledged),
        "lost": lost[:20],
        "lost_count": len(lost),
        "twice": twice[:20],
        "twice_count": len(twice),
        "all_arrived_in_time": in_time,
        "status": status,
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--partitions", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headwater-crash-") as folder:
        report = crash(Path(folder), rounds=options.rounds, seed=options.seed, partitions=options.partitions)
        if report["lost_count"] or report["twice_count"] or report["problems"]:
            print((Path(folder) / "stderr.log").read_text()[-6_000:], file=sys.stderr)
    print(json.dumps(report, indent=2))
    return 1 if report["lost_count"] or report["twice_count"] or report["problems"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
