"""The log in memory as a test double: faults, held writes, crashes, gaps, retention and compaction on demand."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import Fenced, LogUnavailable, OffsetOutOfRange
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.topics import ACCEPTED, PROCESSED, PROCESSOR_GROUP, PROFILES
from tests.contracts.log.harness import read_all, values

IN, OUT, ROWS = TopicPartition(ACCEPTED, 0), TopicPartition(PROCESSED, 0), TopicPartition(PROFILES, 0)


async def test_a_planned_failure_happens_once_and_leaves_what_it_was_told_to() -> None:
    """Without `written` nothing is there; with it the records are, as when an answer gets lost."""
    log = MemoryLog()
    log.faults.fail("append")
    log.faults.fail("append", written=True)
    for value in (b"refused", b"unacknowledged"):
        with pytest.raises(LogUnavailable, match="append: failed on purpose"):
            await log.append([Entry(*IN, Record(value))])
    await log.append([Entry(*IN, Record(b"fine"))])
    assert values(await read_all(log, IN)) == [b"unacknowledged", b"fine"]


async def test_a_failed_transaction_moves_nothing() -> None:
    """Outputs and position stay together when the commit fails."""
    log = MemoryLog()
    owner = await log.claim(PROCESSOR_GROUP, IN)
    log.faults.fail("transaction")
    transaction = owner.begin()
    transaction.append(*OUT, [Record(b"x")])
    transaction.advance(IN, Position(1))
    with pytest.raises(LogUnavailable):
        await transaction.commit()
    assert (await read_all(log, OUT), await owner.position()) == ([], None)


@pytest.mark.parametrize("kept", [False, True])
async def test_a_crash_decides_over_writes_under_way(kept: bool) -> None:
    """Held writes are lost, or kept without their caller being told; the dead log answers nothing any more."""
    log = MemoryLog()
    log.faults.hold()
    writes = [asyncio.create_task(log.append([Entry(*IN, Record(b"%d" % n))])) for n in range(3)]
    await asyncio.sleep(0)
    await log.crash(keep_unacknowledged=kept)
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(result, LogUnavailable) for result in results)
    with pytest.raises(LogUnavailable, match="crashed"):
        await log.bounds(IN)
    assert values(await read_all(log.reopen(), IN)) == ([b"0", b"1", b"2"] if kept else [])


async def test_held_writes_go_on_in_order_when_released() -> None:
    """The gate keeps the order of arrival."""
    log = MemoryLog()
    log.faults.hold()
    writes = [asyncio.create_task(log.append([Entry(*IN, Record(b"%d" % n))])) for n in range(5)]
    await asyncio.sleep(0)
    assert await read_all(log, IN) == []
    log.faults.release()
    await asyncio.gather(*writes)
    assert values(await read_all(log, IN)) == [b"0", b"1", b"2", b"3", b"4"]


async def test_members_of_a_crashed_log_fall_out_of_their_group() -> None:
    """Two processes of one group: the survivor gets the partitions; the dead one's owner is fenced by the next claim."""
    dead = MemoryLog(2)
    alive = MemoryLog(2, store=dead.disk)
    first, second = [await log.consumer("g", [ACCEPTED]) for log in (dead, alive)]
    assert len(second.assignment()) == 1
    zombie = await dead.claim("g", IN)
    await dead.crash()
    assert len(second.assignment()) == 2
    assert not first.assignment()
    await alive.claim("g", IN)
    with pytest.raises((Fenced, LogUnavailable)):
        await zombie.begin().commit()


async def test_transactions_leave_a_gap_in_the_offsets_as_in_kafka() -> None:
    """Whoever counts offsets instead of using next_offset finds out here."""
    log = MemoryLog()
    owner = await log.claim(PROCESSOR_GROUP, IN)
    for value in (b"a", b"b"):
        transaction = owner.begin()
        transaction.append(*OUT, [Record(value)])
        await transaction.commit()
    assert [record.offset for record in await read_all(log, OUT)] == [0, 2]
    assert await log.bounds(OUT) == (0, 4)


async def test_trimming_and_compacting_on_demand() -> None:
    """Trimmed offsets are out of range; compaction keeps the last value of a key, and tombstones until told."""
    log = MemoryLog()
    await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(4)])
    log.trim(IN, 3)
    with pytest.raises(OffsetOutOfRange, match="3 records were removed"):
        await log.read(IN, 0)
    rows = [(b"k", b"1"), (b"k", b"2"), (b"d", b"1"), (b"d", None)]
    await log.append([Entry(*ROWS, Record(value, key)) for key, value in rows])
    log.compact(ROWS)
    assert values(await read_all(log, ROWS)) == [b"2", None]
    log.compact(ROWS, tombstones=True)
    assert values(await read_all(log, ROWS)) == [b"2"]
