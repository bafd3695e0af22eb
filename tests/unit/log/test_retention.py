"""Retention: old and surplus rows go once everybody has read them, never earlier, and the disk gets its space back."""

from __future__ import annotations

import os

import pytest

from headwater.clock import ManualClock
from headwater.errors import OffsetOutOfRange
from headwater.log.protocol import Bounds, Entry, Position, Record, TopicPartition
from headwater.log.retention import DAY_S, Policy
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.topics import ACCEPTED, PROCESSED, PROCESSOR_GROUP, PROFILES
from headwater.paths import DataDir

IN, OUT, ROWS = TopicPartition(ACCEPTED, 0), TopicPartition(PROCESSED, 0), TopicPartition(PROFILES, 0)


async def advance(log: SqliteLog, offset: int) -> None:
    """Let the processor have read `accepted` up to there."""
    transaction = (await log.claim(PROCESSOR_GROUP, IN)).begin()
    transaction.advance(IN, Position(offset))
    await transaction.commit()


async def test_only_what_is_old_and_read_goes(data: DataDir, clock: ManualClock) -> None:
    """Age alone removes nothing; reading alone removes nothing; a read past the gap is loud."""
    async with SqliteLog(data, clock, writers=WRITERS, policy=Policy(DAY_S)) as log:
        for _ in range(4):
            await log.append([Entry(*IN, Record(b"x"))])
            clock.advance(DAY_S / 2)
        assert await log.trim() == 0, "nobody has ever read it"
        await advance(log, 1)
        assert await log.trim() == 1
        assert await log.bounds(IN) == Bounds(1, 4)
        await advance(log, 4)
        assert await log.trim() == 1, "the third is younger than a day"
        with pytest.raises(OffsetOutOfRange, match="2 records were removed"):
            await log.read(IN, 0)
        clock.advance(5 * DAY_S)
        await log.trim()
        assert await log.bounds(IN) == Bounds(4, 4)
        await log.append([Entry(*IN, Record(b"next"))])
        assert await log.bounds(IN) == Bounds(4, 5)
        assert [lag.events for lag in await log.lag("destination.new", [ACCEPTED])] == [1]


async def test_every_registered_group_holds_its_unread_records_until_it_is_forgotten(
    data: DataDir, clock: ManualClock
) -> None:
    """A destination that joined and never read keeps everything; taken out of the workspace it keeps nothing."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        owner = await log.claim(PROCESSOR_GROUP, IN)
        transaction = owner.begin()
        transaction.append(*OUT, [Record(b"x")])
        await transaction.commit()
        consumer = await log.consumer("destination.slow", [PROCESSED])
        await consumer.close()
        clock.advance(400 * DAY_S)
        assert await log.trim() == 0
        await log.forget_group("destination.slow")
        assert await log.trim() == 1


async def test_nothing_goes_while_the_reading_process_has_never_run(
    data: DataDir, clock: ManualClock
) -> None:
    """The collector alone, for a year: every event is still there for the first processor."""
    async with SqliteLog(data, clock, writers=["collector"]) as log:
        await log.append([Entry(*IN, Record(b"x"))])
        clock.advance(365 * DAY_S)
        assert await log.trim() == 0
        assert await log.bounds(IN) == Bounds(0, 1)


async def test_the_collector_trims_by_the_positions_in_the_processors_file(
    data: DataDir, clock: ManualClock
) -> None:
    """Two processes, two files: the position is read from where it is kept."""
    async with (
        SqliteLog(data, clock, writers=["collector"]) as collector,
        SqliteLog(data, clock, writers=["processor"]) as processor,
    ):
        for _ in range(2):
            await collector.append([Entry(*IN, Record(b"x"))])
        await advance(processor, 1)
        clock.advance(30 * DAY_S)
        assert await collector.trim() == 1
        assert await processor.bounds(IN) == Bounds(1, 2)


async def test_a_file_over_its_size_gives_up_read_rows_and_shrinks(data: DataDir, clock: ManualClock) -> None:
    """Oldest first, down to the bound, and the space goes back to the disk."""
    bound = 1 << 20
    async with SqliteLog(data, clock, writers=WRITERS, policy=Policy(30 * DAY_S, bound)) as log:
        for _ in range(60):
            await log.append([Entry(*IN, Record(os.urandom(50_000)))])
        assert await log.trim() == 0, "over its bound, but unread"
        await advance(log, 55)
        await log.trim()
        begin, end = await log.bounds(IN)
        assert (30 < begin <= 55, end) == (True, 60)
    assert (data.log / "collector.db").stat().st_size < 1.2 * bound


async def test_the_processors_outputs_are_kept_for_as_long_as_state_may_be_rebuilt(
    data: DataDir, clock: ManualClock
) -> None:
    """A short retention_days shortens `accepted`, not the topics that the state is a fold of."""
    async with SqliteLog(data, clock, writers=WRITERS, policy=Policy(DAY_S)) as log:
        transaction = (await log.claim(PROCESSOR_GROUP, IN)).begin()
        transaction.append(*OUT, [Record(b"x")])
        await transaction.commit()
        clock.advance(7.5 * DAY_S)
        assert await log.trim() == 0
        clock.advance(DAY_S)
        assert await log.trim() == 1


async def test_deleted_keys_are_forgotten_in_the_end(data: DataDir, clock: ManualClock) -> None:
    """A tombstone stays visible for a week and until its readers have passed it; live keys stay for ever."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await log.append([Entry(*ROWS, Record(b"v", b"kept")), Entry(*ROWS, Record(None, b"gone"))])
        consumer = await log.consumer("destination.rows", [PROFILES])
        await log.trim()
        assert len((await log.read(ROWS, 0)).records) == 2
        clock.advance(8 * DAY_S)
        await log.trim()
        assert len((await log.read(ROWS, 0)).records) == 2, "not read yet"
        await consumer.commit({ROWS: Position(2)})
        await log.trim()
        assert [record.key for record in (await log.read(ROWS, 0)).records] == [b"kept"]
