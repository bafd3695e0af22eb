"""Power cuts: whatever unsynced writes vanish or tear, exactly what was acknowledged is there, and nothing is torn."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from random import Random

import pytest

from headwater.clock import ManualClock
from headwater.log import sqlite_writer
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.topics import ACCEPTED, PROCESSED, PROCESSOR_GROUP, PROFILES
from headwater.paths import DataDir
from tests.contracts.log.harness import read_all
from tests.support.power_cut import Trace, recording

IN, OUT, ROWS = TopicPartition(ACCEPTED, 0), TopicPartition(PROCESSED, 0), TopicPartition(PROFILES, 0)
CUTS = 50


def payload(n: int) -> bytes:
    """Bytes that do not compress, so that rows are as large as they look."""
    return b"%d " % n + Random(n).randbytes(Random(n).choice((10, 700, 6000)))


async def record(folder: Path) -> Trace:
    """Appends (alone and at once), transactions and checkpoints; every acknowledgement is noted."""
    data = DataDir(folder).make()
    async with SqliteLog(data, ManualClock(), writers=WRITERS):
        pass
    with recording(data.log) as trace:
        async with SqliteLog(data, ManualClock(), writers=WRITERS) as log:

            async def append(n: int) -> None:
                await log.append([Entry(*IN, Record(payload(n)))])
                trace.note(f"accepted {n}")

            owner = await log.claim(PROCESSOR_GROUP, IN)
            for turn in range(12):
                await asyncio.gather(*(append(turn * 10 + n) for n in range(turn % 4 + 1)))
                transaction = owner.begin()
                transaction.append(*OUT, [Record(payload(turn))] * 3)
                transaction.append(*ROWS, [Record(b"%d" % turn, b"key")])
                transaction.advance(IN, Position(turn + 1, f"note {turn}"))
                await transaction.commit()
                trace.note(f"processed {turn}")
    return trace


async def check(folder: Path, notes: list[str]) -> None:
    """Open what the cut has left and compare it with what had been promised."""
    for name in WRITERS:
        connection = sqlite3.connect(folder / "log" / f"{name}.db")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    async with SqliteLog(DataDir(folder), ManualClock(), writers=WRITERS) as log:
        accepted = [int((record.value or b"").split(b" ")[0]) for record in await read_all(log, IN)]
        promised = [int(note.split()[1]) for note in notes if note.startswith("accepted")]
        assert set(promised) <= set(accepted)
        assert len(accepted) == len(set(accepted)) <= len(promised) + 4, (
            "at most the one commit under way beyond them"
        )
        assert [record.value for record in await read_all(log, IN)] == [payload(n) for n in accepted]
        turns = sum(note.startswith("processed") for note in notes)
        position = await log.committed(PROCESSOR_GROUP, IN)
        done = position.offset if position else 0
        assert done in {turns, turns + 1}
        assert position is None or position.metadata == f"note {done - 1}"
        outputs = [record.value for record in await read_all(log, OUT)]
        assert outputs == [payload(turn) for turn in range(done) for _ in range(3)]
        assert [record.value for record in await read_all(log, ROWS)] == [b"%d" % (done - 1)] * bool(done)
        await log.append([Entry(*IN, Record(b"goes on"))])


@pytest.mark.parametrize(
    "checkpoint_bytes", [1 << 30, 4096], ids=["never-checkpointed", "checkpointed-often"]
)
async def test_a_power_cut_at_any_instant_keeps_exactly_what_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint_bytes: int
) -> None:
    """Cut at random steps of a real recording, lose random sectors, reopen, compare."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_BYTES", checkpoint_bytes)
    trace = await record(tmp_path / "live")
    kinds = {step.kind for step in trace.steps}
    assert {"write", "sync", "note"} <= kinds, "the recorder sees what SQLite does"
    random = Random(20_260_101)
    for number in range(CUTS):
        after = DataDir(tmp_path / str(number)).make()
        cut = random.randrange(len(trace.steps) + 1)
        trace.after_cut(cut, random, after.log)
        await check(after.root, trace.notes_before(cut))
