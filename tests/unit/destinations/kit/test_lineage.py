"""A log made anew is not the log that was read, however far it has grown."""

from __future__ import annotations

import orjson
import pytest

from destinations.kit.books import Books, key_of
from destinations.kit.lineage import log_ids
from destinations.kit.records import Totals, encode
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.topics import DESTINATION_TOTALS, PROCESSED, TOTALS
from tests.support.delivering import NAME, Rig, event, publish, workspace
from tests.support.receiver import Receiver

GROUP = f"destination.{NAME}"


async def count(log: MemoryLog, log_id: str, partition: int = 0) -> None:
    """Write the counts of a partition, as its processor does before anything else."""
    value = orjson.dumps({"partition": partition, "log": log_id, "accepted": 3})
    await log.append([Entry(TOTALS, 0, Record(value, key=str(partition).encode()))])


async def other_log(rig: Rig, log_id: str) -> MemoryLog:
    """A log with the destination's positions and counts of the rig's, whose events are others."""
    made = MemoryLog(1, rig.clock)
    await count(made, log_id)
    position = await rig.log.committed(GROUP, TopicPartition(PROCESSED, 0))
    assert position is not None
    await made.store(GROUP, {TopicPartition(PROCESSED, 0): position})
    counts = (await rig.log.read(TopicPartition(DESTINATION_TOTALS, 0), 0)).records[-1]
    await made.append([Entry(DESTINATION_TOTALS, 0, Record(counts.value, key=counts.key))])
    return made


async def _delivered(rig: Rig, url: str, total: int) -> Totals:
    async with rig.running(workspace(url)):
        return await rig.until(lambda t: t.delivered == total)


async def test_a_log_that_has_outgrown_the_position_is_noticed_and_read_from_its_beginning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing of the new log is skipped, one error names the partition, and the next start finds all in order."""
    rig = Rig()
    async with Receiver() as receiver:
        await count(rig.log, "one")
        await publish(rig.log, [event(n) for n in range(3)], per_record=1)
        totals = await _delivered(rig, receiver.url, 3)
        assert totals.logs == {"0": "one"}
        rig.log = await other_log(rig, "two")
        await publish(rig.log, [event(n) for n in range(10, 18)], per_record=1)
        totals = await _delivered(rig, receiver.url, 3 + 8)
        assert totals.logs == {"0": "two"}
        assert caplog.text.count("events.processed[0] is of another log than the one that was read") == 1
        await publish(rig.log, [event(20)])
        await _delivered(rig, receiver.url, 12)
    assert sorted(receiver.ids) == sorted(f"m{n}" for n in (0, 1, 2, *range(10, 18), 20))
    assert caplog.text.count("another log") == 1


async def test_the_same_log_goes_on_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the id became known only after the destination had started: it is noted with the next position."""
    rig = Rig()
    async with Receiver() as receiver, rig.running(workspace(receiver.url)):
        await rig.until(lambda t: t.read == 0)
        await count(rig.log, "one")
        await publish(rig.log, [event(0)])
        totals = await rig.until(lambda t: t.delivered == 1)
        assert totals.logs == {"0": "one"}
    tp = TopicPartition(PROCESSED, 0)
    page = (await Books.of(rig.log, NAME).open({tp: await rig.log.claim(GROUP, tp)}))[tp]
    assert page.totals.logs == {"0": "one"}
    assert await rig.log.committed(GROUP, tp) == Position(1)
    assert "another log" not in caplog.text


async def test_ids_are_the_newest_of_each_partition() -> None:
    """The topic of counts is compacted, later."""
    log = MemoryLog(2)
    for log_id, partition in (("a", 0), ("b", 1), ("c", 0)):
        await count(log, log_id, partition)
    assert await log_ids(log) == {"0": "c", "1": "b"}


@pytest.mark.parametrize("present", [None, "a"], ids=["not counted yet", "the same"])
async def test_only_what_is_known_on_both_sides_can_differ(
    present: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A partition that has not counted yet, or that was never read, is no other log."""
    log, read, unread = MemoryLog(2), TopicPartition(PROCESSED, 0), TopicPartition(PROCESSED, 1)
    row = encode(Totals(destination=NAME, logs={"0": "a"}))
    await log.append([Entry(DESTINATION_TOTALS, 0, Record(row, key=key_of(NAME, read)))])
    await log.store(GROUP, {read: Position(7)})
    await count(log, "z", 1)
    if present is not None:
        await count(log, present, 0)
    await Books.of(log, NAME).open({tp: await log.claim(GROUP, tp) for tp in (read, unread)})
    assert [await log.committed(GROUP, tp) for tp in (read, unread)] == [Position(7), None]
    assert "another log" not in caplog.text
