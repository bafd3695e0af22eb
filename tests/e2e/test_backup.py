"""`headwater backup` while clients send, and `headwater restore` elsewhere: the books of the ledger balance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.crash.ledger import Client, Ledger
from tests.support.running import Running, eventually

WORKSPACE = """\
workspace: acme
sources:
  api: {kind: server, write_keys: [wk_api]}
destinations:
  warehouse: {type: clickhouse, merges: false}
log: {partitions: 2}
"""

pytestmark = [pytest.mark.slow, pytest.mark.engine]


@pytest.mark.timeout(240)
def test_backups_under_load_restore_to_books_that_balance(tmp_path: Path) -> None:
    """What was acknowledged before a backup began is in the restored base table once, and nothing is there twice."""
    running = Running(_made(tmp_path / "first"), WORKSPACE)
    ledger = Ledger()
    senders = [Client(ledger, number, [running.port], seed=5, pause=0.05) for number in range(3)]
    kept: dict[Path, set[str]] = {}
    try:
        running.start()
        for sender in senders:
            sender.start()
        for number, rate in enumerate(("0", "10")):
            _more(ledger, 400)
            before = set(ledger.acknowledged)
            folder = tmp_path / f"backup-{number}"
            told = json.loads(running.run("backup", str(folder), "--rate", rate, "--json").stdout)
            assert told["parts"] == ["log", "clickhouse", "workspace"]
            kept[folder] = before
        _more(ledger, 100)
    finally:
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            if sender.ident is not None:
                sender.join(60)
        pictures = list((running.dir / "clickhouse" / "shadow").glob("headwater*"))
        running.kill()
    assert [sender.problem for sender in senders if sender.problem] == []
    assert pictures == []
    for number, (folder, before) in enumerate(kept.items()):
        _balances(_made(tmp_path / f"second-{number}"), folder, before)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _more(ledger: Ledger, number: int) -> None:
    """Wait until so many more events were acknowledged."""
    wanted = len(ledger.acknowledged) + number
    eventually(lambda: len(ledger.acknowledged) >= wanted, seconds=60, what=f"{wanted} acknowledged")


def _balances(home: Path, folder: Path, before: set[str]) -> None:
    restored = Running(home, (folder / "headwater.yaml").read_text())
    restored.run("restore", str(folder))
    try:
        restored.start()
        eventually(lambda: _idle(restored), seconds=60, what="nothing in flight")
        rows = restored.sql(
            "SELECT message_id AS id, count() AS n FROM headwater.events GROUP BY id", final=False
        )
        found = {str(row["id"]): int(row["n"]) for row in rows}
        assert before - found.keys() == set()
        assert [one for one, number in found.items() if number > 1] == []
        assert restored.stop() == 0
    finally:
        restored.kill()
    assert "lost" not in restored.errors()


def _idle(running: Running) -> bool:
    """Everything accepted was processed and loaded, and the counts add up."""
    funnel = json.loads(running.run("status", "--json").stdout)["funnel"]
    assert funnel["adds_up"]
    return bool(funnel["in_flight"] == 0 == funnel["destinations"]["warehouse"]["lag"])
