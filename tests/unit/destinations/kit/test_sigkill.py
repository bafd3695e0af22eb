"""A real destinations process on the SQLite log, killed with SIGKILL while it delivers."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import orjson
import pytest

from destinations.kit.books import all_totals
from headwater.log.open import open_log
from headwater.paths import DataDir
from tests.support.delivering import NAME, event, publish, workspace
from tests.support.receiver import Answer, Got, Receiver

COUNT = 400
ROOT = Path(__file__).parents[4]
CHILD = Path(__file__).with_name("delivery_child.py")


def _moody(got: Got) -> Answer:
    """Refuse every eleventh event for good and fail every ninth request."""
    if int(got.ids[0][1:]) % 9 == 0 and len(got.ids) == 7:
        return Answer(503)
    results = [{"status": 422 if int(id_[1:]) % 11 == 0 else 200} for id_ in got.ids]
    return Answer(207, orjson.dumps({"results": results}))


async def _child(folder: Path, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHILD),
        str(folder),
        url,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )


@pytest.mark.slow
async def test_sigkill_loses_nothing_and_the_books_balance(tmp_path: Path) -> None:
    """Three kills at different moments, then a run to the end: every event arrived, every event is counted once."""
    data = DataDir(tmp_path).make()
    settings = workspace("http://127.0.0.1:1/").log
    async with Receiver(rule=_moody) as receiver, open_log(settings, data, "processor") as events:
        await publish(events, [event(n) for n in range(COUNT)], per_record=9)
        for more in (1, 9, 14):
            child = await _child(tmp_path, receiver.url)
            await receiver.requests(len(receiver.got) + more)
            child.kill()
            await child.wait()
        child = await _child(tmp_path, receiver.url)
        async with asyncio.timeout(40):
            assert await child.wait() == 0
    async with open_log(settings, data, None) as log:
        totals = (await all_totals(log))[NAME]
    refused = len(range(0, COUNT, 11))
    assert totals.balances()
    assert (totals.read, totals.dead, totals.delivered) == (COUNT, refused, COUNT - refused)
    assert set(receiver.ids) == {f"m{n}" for n in range(COUNT)}
