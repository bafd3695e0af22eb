"""Claims and transactions: outputs and positions together or not at all, one owner at a time."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import Fenced, LogUnavailable
from headwater.log.protocol import Log, Position, Record
from headwater.log.topics import PROCESSED, PROCESSOR_GROUP, PROFILES, TOTALS
from tests.contracts.log.harness import IN, OUT, ROWS, Harness, read_all, values


async def test_outputs_and_position_appear_together(log: Log, harness: Harness) -> None:
    """Nothing is visible before commit; everything is after it, also after a crash."""
    owner = await log.claim(PROCESSOR_GROUP, IN)
    assert await owner.position() is None
    transaction = owner.begin()
    transaction.append(PROCESSED, 0, [Record(b"a"), Record(b"b")])
    transaction.append(PROFILES, 0, [Record(b"v", b"k")])
    transaction.append(TOTALS, 0, [Record(b"{}", b"0")])
    transaction.advance(IN, Position(7, "note"))
    assert await read_all(log, OUT) == []
    ends = await transaction.commit()
    last = (await read_all(log, OUT))[-1]
    assert ends[OUT] == last.offset + 1
    await harness.crash()
    log = await harness.open()
    assert values(await read_all(log, OUT)) == [b"a", b"b"]
    assert values(await read_all(log, ROWS)) == [b"v"]
    assert await (await log.claim(PROCESSOR_GROUP, IN)).position() == Position(7, "note")


async def test_an_abandoned_transaction_leaves_nothing(log: Log) -> None:
    """A transaction that is not committed never happened, and the next one works."""
    owner = await log.claim(PROCESSOR_GROUP, IN)
    dropped = owner.begin()
    dropped.append(PROCESSED, 0, [Record(b"dropped")])
    dropped.advance(IN, Position(3))
    kept = owner.begin()
    kept.append(PROCESSED, 0, [Record(b"kept")])
    await kept.commit()
    assert values(await read_all(log, OUT)) == [b"kept"]
    assert await owner.position() is None


async def test_a_claim_fences_every_earlier_owner(log: Log) -> None:
    """The old owner's commit raises Fenced and writes nothing; the new owner sees the last position."""
    old = await log.claim(PROCESSOR_GROUP, IN)
    first = old.begin()
    first.append(PROCESSED, 0, [Record(b"1")])
    first.advance(IN, Position(1))
    await first.commit()
    late = old.begin()
    late.append(PROCESSED, 0, [Record(b"late")])
    late.advance(IN, Position(9))
    new = await log.claim(PROCESSOR_GROUP, IN)
    with pytest.raises(Fenced, match=r"events\.accepted\[0\]"):
        await late.commit()
    assert await new.position() == Position(1)
    second = new.begin()
    second.append(PROCESSED, 0, [Record(b"2")])
    await second.commit()
    assert values(await read_all(log, OUT)) == [b"1", b"2"]


async def test_a_claim_made_before_a_crash_is_fenced_after_it(log: Log, harness: Harness) -> None:
    """Epochs are durable: a zombie of an earlier life cannot write."""
    zombie = await log.claim(PROCESSOR_GROUP, IN)
    transaction = zombie.begin()
    transaction.append(PROCESSED, 0, [Record(b"zombie")])
    await harness.crash()
    log = await harness.open()
    owner = await log.claim(PROCESSOR_GROUP, IN)
    with pytest.raises((Fenced, LogUnavailable)):
        await transaction.commit()
    assert await read_all(log, OUT) == []
    alive = owner.begin()
    alive.append(PROCESSED, 0, [Record(b"alive")])
    await alive.commit()
    assert values(await read_all(log, OUT)) == [b"alive"]


async def test_owners_of_different_partitions_do_not_fence_each_other(log: Log) -> None:
    """Two partitions, two owners, interleaved and concurrent commits."""
    owners = [await log.claim(PROCESSOR_GROUP, IN._replace(partition=n)) for n in (0, 1)]

    async def work(n: int) -> None:
        for step in range(20):
            transaction = owners[n].begin()
            transaction.append(PROCESSED, n, [Record(b"%d" % step)])
            transaction.advance(IN._replace(partition=n), Position(step + 1))
            await transaction.commit()

    await asyncio.gather(work(0), work(1))
    for n in (0, 1):
        assert values(await read_all(log, OUT._replace(partition=n))) == [b"%d" % step for step in range(20)]
        assert await owners[n].position() == Position(20)


async def test_a_transaction_is_used_once(log: Log) -> None:
    """Committing twice is a mistake that is told, not a second write."""
    owner = await log.claim(PROCESSOR_GROUP, IN)
    transaction = owner.begin()
    transaction.append(PROCESSED, 0, [Record(b"x")])
    await transaction.commit()
    with pytest.raises(RuntimeError, match="once"):
        await transaction.commit()
    assert values(await read_all(log, OUT)) == [b"x"]


async def test_a_large_transaction_is_whole(log: Log) -> None:
    """5,000 records of a kilobyte appear at once and in order."""
    owner = await log.claim(PROCESSOR_GROUP, IN)
    transaction = owner.begin()
    records = [Record(b"%05d" % n + b"x" * 1000) for n in range(5000)]
    transaction.append(PROCESSED, 0, records)
    await transaction.commit()
    assert values(await read_all(log, OUT)) == [record.value for record in records]


async def test_a_forgotten_group_has_no_position(log: Log) -> None:
    """A group that is forgotten begins anew, and its owner is fenced."""
    owner = await log.claim(PROCESSOR_GROUP, IN)
    transaction = owner.begin()
    transaction.advance(IN, Position(5))
    await transaction.commit()
    await log.forget_group(PROCESSOR_GROUP)
    assert await log.committed(PROCESSOR_GROUP, IN) is None
    new = await log.claim(PROCESSOR_GROUP, IN)
    with pytest.raises(Fenced):
        await owner.begin().commit()
    await new.begin().commit()
