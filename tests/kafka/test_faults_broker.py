"""The broker is away under load: clients are answered all the while, and everything is processed once afterwards.

Real processes: a collector and a processor. The two minutes of an outage are shortened to ten seconds: the spool is bounded
by bytes, not by time, and every time limit of the way there (2 s to hold a request, 5 s to wait for a broker) has passed.
"""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

import pytest

from tests.crash import audit
from tests.crash.fleet import Fleet, Host
from tests.crash.ledger import Ledger, finish, senders
from tests.support.running import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]
MORE = 400  # events acknowledged in each phase


def spooled(collector: Host) -> float:
    """Bytes that wait in the collector's spool."""
    with urllib.request.urlopen(f"http://127.0.0.1:{collector.port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith("headwater_spool_bytes")))


def acknowledge(ledger: Ledger, more: int) -> None:
    """Wait until so many more events are acknowledged."""
    wanted = len(ledger.acknowledged) + more
    eventually(lambda: len(ledger.acknowledged) >= wanted, seconds=60, what=f"{more} more acknowledged")


def test_an_outage_of_the_broker_is_acknowledged_through_the_spool_and_drained_afterwards(
    tmp_path: Path,
) -> None:
    """Nobody is refused; the spool survives SIGKILL of the collector; then it is empty, and each event is there once."""
    ledger = Ledger()
    with Fleet(tmp_path, collectors=1, processors=1, destination=False) as fleet:
        fleet.wait_ready()
        [collector] = fleet.of("collector")
        load = senders(ledger, 4, fleet.ports, seed=5, pause=0.05)
        for sender in load:
            sender.start()
        acknowledge(ledger, MORE)
        fleet.cluster.kill(1)
        acknowledge(ledger, MORE)
        assert ledger.refused == 0, "the outage is not the clients' business"
        eventually(lambda: spooled(collector) > 0, what="events in the spool")
        collector.send(signal.SIGKILL)
        collector.start()
        acknowledge(ledger, MORE)
        fleet.cluster.restart(1)
        acknowledge(ledger, MORE)
        assert finish(load) == []
        eventually(lambda: spooled(collector) == 0, seconds=60, what="an empty spool")

        def settled() -> bool:
            funnel = fleet.status()
            return bool(funnel["in_flight"] == 0 and funnel["accepted"] >= len(ledger.acknowledged))

        eventually(settled, seconds=60, what="nothing in flight")
        seen, funnel = audit.look(fleet.cluster.bootstrap), fleet.status()
    assert seen.processed.keys() >= ledger.acknowledged, "none is lost"
    assert set(seen.processed.values()) == {1}, "none is there twice"
    assert (seen.accepted, seen.processed.total()) == (funnel["accepted"], funnel["processed"])
    assert seen.accepted == seen.processed.total() + seen.dropped.total()
    assert seen.reasons.keys() <= {"duplicate"}
