"""Opening a partition: the others go on meanwhile, it says how far it is, and it can be taken away in the middle."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from headwater import metrics
from headwater.log.protocol import Batch, TopicPartition
from headwater.log.topics import PROCESSED
from processors import fold, worker
from processors.rebuild import finished
from tests.support.rig import Rig, accepted

PEOPLE = [f"v{n}" for n in range(20)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in these tests is worth waiting for."""
    for name in ("IDLE_S", "BUSY_S", "OPENING_S"):
        monkeypatch.setattr(worker, name, 0.0)


class Gate:
    """Reading the outputs of one partition waits here until it is let through."""

    def __init__(self, rig: Rig, number: int) -> None:
        self.open, self.reached = asyncio.Event(), asyncio.Event()
        self._tp, self._read = TopicPartition(PROCESSED, number), rig.log.read
        rig.log.read = self.read  # type: ignore[method-assign]

    async def read(self, tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        """As the log's own."""
        if tp == self._tp:
            self.reached.set()
            await self.open.wait()
        return await self._read(tp, offset, max_bytes=max_bytes)


async def send(rig: Rig, begin: int) -> None:
    """An event of each person, in every partition."""
    await rig.accept([accepted(begin + n, f"m{begin + n}", anonymous_id=one) for n, one in enumerate(PEOPLE)])


async def processed(rig: Rig, number: int) -> int:
    """How many events one partition has let through."""
    tp = TopicPartition(PROCESSED, number)
    return sum(record.events for record in (await rig.log.read(tp, 0, max_bytes=1 << 30)).records)


async def test_the_other_partitions_flow_while_one_is_rebuilt() -> None:
    """A rebuild that takes long keeps back its own partition alone, and polling goes on."""
    rig = Rig(partitions=2)
    await send(rig, 0)
    await rig.finish()
    rig.states.clear()
    await send(rig, 100)
    gate = Gate(rig, 1)
    one, consumer = await rig.start()
    before = await processed(rig, 0)
    while await processed(rig, 0) == before:
        await one._once(consumer)
    assert gate.reached.is_set()
    assert [tp.partition for tp in one._open] == [0]
    assert [tp.partition for tp in one._opening] == [1]
    gate.open.set()
    await rig.drain(one, consumer)
    await one.close()
    await consumer.close()
    await rig.check()
    await rig.check_state(rig.serials.values())


async def test_a_partition_taken_away_in_the_middle_of_a_rebuild_is_let_go_at_once(tmp_path: Path) -> None:
    """The next owner need not wait for the rebuild to end, and finds the state's folder free."""
    rig = Rig(partitions=1).on_disk(tmp_path)
    await send(rig, 0)
    await rig.finish()
    rig.on_disk(tmp_path / "another-host")
    gate = Gate(rig, 0)
    one, consumer = await rig.start()
    while not gate.reached.is_set():
        await one._once(consumer)
    await consumer.close()
    assert one._opening == {}
    gate.open.set()
    await send(rig, 100)
    await rig.finish()
    await rig.check()
    await one.close()


async def test_a_rebuild_that_ends_as_it_is_taken_away_is_closed() -> None:
    """Opened, but not yet gone on with: its claim and its state are given up."""
    rig = Rig()
    one, consumer = await rig.start()
    one._begin(consumer)
    await asyncio.wait(one._opening.values())
    (opening,) = one._opening.values()
    partition, _ = opening.result()
    await consumer.close()
    assert one._opening == {}
    assert one._open == {}
    assert partition._owner._closed  # type: ignore[attr-defined]


async def test_a_long_rebuild_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A line at intervals with percent and time left, and a metric that is 1 again afterwards."""
    rig = Rig()
    for begin in range(0, 400, 100):
        await send(rig, begin)
        await rig.finish()
    rig.states.clear()
    monkeypatch.setattr(fold, "READ_BYTES", 1)
    read, seen = rig.log.read, list[float]()

    async def slow(tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        rig.clock.advance(6.0)
        seen.append(metrics.REBUILD_RATIO.labels("0")._value.get())
        return await read(tp, offset, max_bytes=max_bytes)

    monkeypatch.setattr(rig.log, "read", slow)
    with caplog.at_level(logging.INFO, logger="headwater.processors"):
        await rig.finish()
    assert (
        "partition 0: rebuilding the state from the log, 38%, 3 of 8 records, about 20 s left" in caplog.text
    )
    assert "partition 0: read 8 records back" in caplog.text
    assert {0.0, 0.125, 0.375, 0.625} <= set(seen)
    assert metrics.REBUILD_RATIO.labels("0")._value.get() == 1


async def test_a_short_opening_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Starting on a state that is up to date is not worth a line."""
    rig = Rig()
    await send(rig, 0)
    with caplog.at_level(logging.INFO, logger="headwater.processors"):
        await rig.finish()
        await rig.finish()
    assert caplog.text == ""


async def test_a_state_kept_from_an_earlier_assignment_reads_back_only_what_came_since() -> None:
    """A host that gets its partition back folds the stretch that others have written meanwhile."""
    rig = Rig()
    await send(rig, 0)
    await rig.finish()
    here = rig.states
    rig.states = {}
    await send(rig, 100)
    await rig.finish()
    rig.states = here
    read, asked = rig.log.read, list[int]()
    folded = here[0].folded(TopicPartition(PROCESSED, 0))

    async def noted(tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        if tp.topic == PROCESSED:
            asked.append(offset)
        return await read(tp, offset, max_bytes=max_bytes)

    rig.log.read = noted  # type: ignore[method-assign]
    await rig.finish()
    assert asked == [folded]
    rig.log.read = read  # type: ignore[method-assign]
    await rig.check_state(rig.serials.values())


async def test_what_must_end_is_waited_for_before_a_cancellation_goes_on() -> None:
    """A thread that writes the state is never left behind, however often we are cancelled."""
    may_end, ended = threading.Event(), threading.Event()

    def work() -> None:
        may_end.wait(10)
        ended.set()

    task = asyncio.create_task(finished(asyncio.to_thread(work)))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
