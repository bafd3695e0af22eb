"""A delivery killed at any instant: nothing is lost and the counts stay exact."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

import orjson
import pytest

from headwater.errors import LogUnavailable
from tests.support.delivering import Rig, event, publish, workspace
from tests.support.receiver import Answer, Got, Receiver

COUNT = 60


class Moody:
    """Refuses every seventh event for good and postpones every fifth once."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def __call__(self, got: Got) -> Answer:
        """Answer for each event."""
        return Answer(207, orjson.dumps({"results": [self._one(id_) for id_ in got.ids]}))

    def _one(self, id_: str) -> dict[str, Any]:
        number = int(id_[1:])
        self.seen[id_] += 1
        if number % 7 == 0:
            return {"status": 422}
        return {"status": 503 if number % 5 == 0 and self.seen[id_] == 1 else 200}


async def _killed(rig: Rig, receiver: Receiver, after: int, *, kept: bool) -> None:
    """Run until that many requests arrived (or nothing is left to send), then die with whatever write is on its way."""
    delivery, stop = rig.delivery(_wanted(receiver)), asyncio.Event()
    task = asyncio.create_task(delivery.run(stop))
    while len(receiver.got) < after:
        totals = await rig.totals()
        if totals.read == COUNT and not totals.retrying:
            break
        rig.clock.advance(0.5)
        await rig.log.wait(["never"], 0.005)
    rig.log.faults.hold()
    for _ in range(3):
        await rig.log.wait(["never"], 0.005)
    await rig.log.crash(keep_unacknowledged=kept)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
        await task
    rig.log = rig.log.reopen()


def _wanted(receiver: Receiver) -> Any:
    rules = {"batch": {"max_events": 7, "max_wait_s": 0}, "concurrency": 2}
    return workspace(receiver.url, delivery=rules)


@pytest.mark.parametrize("kept", [False, True], ids=["write lost", "write kept, answer lost"])
@pytest.mark.parametrize("after", [1, 2, 4, 7, 9, 10])
async def test_a_kill_at_any_request_loses_nothing(after: int, kept: bool) -> None:
    """Killed after the n-th request, with the commit lost or its answer lost: every event ends exactly once in the books."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(COUNT)], per_record=11)
    async with Receiver(rule=Moody()) as receiver:
        await _killed(rig, receiver, after, kept=kept)
        async with rig.running(_wanted(receiver)):
            totals = await rig.until(lambda t: t.read == COUNT and not t.retrying, advance_s=1)
    refused = len(range(0, COUNT, 7))
    assert (totals.dead, totals.delivered) == (refused, COUNT - refused)
    assert set(receiver.ids) == {f"m{n}" for n in range(COUNT)}


async def test_kill_after_kill_converges() -> None:
    """Killed again and again with each few requests, the delivery still comes to the end with exact counts."""
    rig = Rig(partitions=2)
    await publish(rig.log, [event(n) for n in range(COUNT // 2)], per_record=11)
    await publish(rig.log, [event(n) for n in range(COUNT // 2, COUNT)], per_record=4, partition=1)
    async with Receiver(rule=Moody()) as receiver:
        for round_ in range(3):
            await _killed(rig, receiver, len(receiver.got) + 1 + round_, kept=round_ % 2 == 0)
        async with rig.running(_wanted(receiver)):
            totals = await rig.until(lambda t: t.read == COUNT and not t.retrying, advance_s=1)
    assert totals.delivered + totals.dead == COUNT
    assert set(receiver.ids) == {f"m{n}" for n in range(COUNT)}


@pytest.mark.parametrize("written", [False, True], ids=["not written", "written, answer lost"])
async def test_a_log_that_cannot_write_for_a_while_costs_no_second_delivery(written: bool) -> None:
    """When the commit fails, the outcome is kept and written later; the receiver is not asked again."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(5)])
    async with Receiver() as receiver:
        rig.log.faults.fail("transaction", written=written, error=LogUnavailable("disk full"))
        async with rig.running(workspace(receiver.url)):
            totals = await rig.until(lambda t: t.delivered == 5)
    assert totals.read == 5
    assert len(receiver.got) == 1
