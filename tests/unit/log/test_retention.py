"""Retention: old and surplus rows go once everybody has read them, never earlier, and the disk gets its space back."""

from __future__ import annotations

import os

import pytest

from headwater.clock import ManualClock
from headwater.errors import OffsetOutOfRange
from headwater.log.open import open_log
from headwater.log.protocol import Bounds, Entry, Position, Record, TopicPartition
from headwater.log.retention import DAY_S, Policy
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.topics import ACCEPTED, DROPPED, PROCESSED, PROCESSOR_GROUP, PROFILES
from headwater.paths import DataDir
from headwater.workspace.model import SqliteLogSettings

DROPPED_OUT = TopicPartition(DROPPED, 0)
IN, OUT, ROWS = TopicPartition(ACCEPTED, 0), TopicPartition(PROCESSED, 0), TopicPartition(PROFILES, 0)


async def advance(log: SqliteLog, offset: int) -> None:
    """Let the processor have read `accepted` up to there."""
    transaction = (await log.claim(PROCESSOR_GROUP, IN)).begin()
    transaction.advance(IN, Position(offset))
    await transaction.commit()


async def test_only_what_is_old_and_read_goes(data: DataDir, clock: ManualClock) -> None:
    """Age alone removes nothing; reading alone removes nothing; a read past the gap is loud."""
    async with SqliteLog(data, clock, writers=WRITERS, policy=lambda: Policy(DAY_S)) as log:
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
    async with SqliteLog(data, clock, writers=WRITERS, policy=lambda: Policy(30 * DAY_S, bound)) as log:
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
    async with SqliteLog(data, clock, writers=WRITERS, policy=lambda: Policy(DAY_S)) as log:
        transaction = (await log.claim(PROCESSOR_GROUP, IN)).begin()
        transaction.append(*OUT, [Record(b"x")])
        await transaction.commit()
        clock.advance(8.5 * DAY_S)
        assert await log.trim() == 0
        clock.advance(DAY_S)
        assert await log.trim() == 1


async def _output(log: SqliteLog, tp: TopicPartition, value: bytes = b"x") -> None:
    transaction = (await log.claim(PROCESSOR_GROUP, IN)).begin()
    transaction.append(*tp, [Record(value)])
    await transaction.commit()


async def test_outputs_outlive_the_dedupe_window_of_the_workspace_in_force(
    data: DataDir, clock: ManualClock
) -> None:
    """A window made longer while the log is open counts at once, for processed and dropped events."""
    window = 7
    settings = SqliteLogSettings(retention_days=1)
    log = open_log(settings, data, "processor", clock, lambda: window)
    async with log, SqliteLog(data, clock, writers=["destinations"]):
        assert isinstance(log, SqliteLog)
        await _output(log, OUT)
        await _output(log, DROPPED_OUT)
        window = 30
        clock.advance(31.5 * DAY_S)
        assert await log.trim() == 0
        clock.advance(DAY_S)
        assert await log.trim() == 2


async def test_a_bound_on_size_takes_nothing_from_the_dedupe_window_and_says_so(
    data: DataDir, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Outputs within the window stay although the file is too large; older ones go, and one warning tells of the rest."""
    log = open_log(SqliteLogSettings(retention_bytes=500_000), data, "processor", clock, lambda: 2)
    async with log, SqliteLog(data, clock, writers=["destinations"]):
        assert isinstance(log, SqliteLog)
        for _ in range(30):
            await _output(log, OUT, os.urandom(50_000))
            clock.advance(DAY_S / 4)
        await log.trim()
        assert await log.bounds(OUT) == Bounds(15, 30)  # younger than the window and two days more
        assert "processor.db is" in caplog.text
        caplog.clear()
        await log.trim()
        assert not caplog.text
        clock.advance(3 * DAY_S)
        await log.trim()
        begin, _ = await log.bounds(OUT)
        assert begin > 20, "the rest is no longer needed and the bound holds"


async def test_a_topic_kept_for_long_delays_no_other(data: DataDir, clock: ManualClock) -> None:
    """An old row that stays does not keep a younger one of another topic that may go."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await _output(log, DROPPED_OUT)
        clock.advance(DAY_S)
        await _output(log, OUT)
        clock.advance(10 * DAY_S)
        assert await log.trim() == 1
        assert (await log.bounds(DROPPED_OUT), await log.bounds(OUT)) == (Bounds(0, 1), Bounds(1, 1))


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


async def test_a_destination_gone_from_the_workspace_holds_nothing_back_and_keeps_its_place(
    data: DataDir, clock: ManualClock
) -> None:
    """Taken out, it does not fill the disk for ever; put in again, it holds what is still there, from where it was."""
    names = frozenset({"warehouse", "slow"})
    log = open_log(SqliteLogSettings(retention_days=1), data, "processor", clock, lambda: 7, lambda: names)
    async with log, SqliteLog(data, clock, writers=["destinations"]) as destinations:
        assert isinstance(log, SqliteLog)
        for group in ("destination.warehouse", "destination.slow"):
            await (await destinations.consumer(group, [PROCESSED])).close()
        await _output(log, OUT)
        await _output(log, OUT)
        for group, offset in (("destination.warehouse", 2), ("destination.slow", 1)):
            transaction = (await destinations.claim(group, OUT)).begin()
            transaction.advance(OUT, Position(offset))
            await transaction.commit()
        clock.advance(30 * DAY_S)
        assert await log.trim() == 1, "the slow one has yet to read the second"
        names = frozenset({"warehouse"})
        assert await log.trim() == 1
        assert await destinations.committed("destination.slow", OUT) == Position(1)
        await _output(log, OUT)
        names = frozenset({"warehouse", "slow"})
        clock.advance(30 * DAY_S)
        assert await log.trim() == 0


async def test_dead_letters_stay_until_they_are_settled(data: DataDir, clock: ManualClock) -> None:
    """An open letter outlives everything, even its destination; a settled one goes a month later."""
    letters = TopicPartition("dead.crm", 0)
    policy = Policy(DAY_S, destinations=frozenset())
    async with SqliteLog(data, clock, writers=WRITERS, policy=lambda: policy) as log:
        for _ in range(2):
            await log.append([Entry(*letters, Record(b"{}"))])
            clock.advance(1)  # a row each
        clock.advance(400 * DAY_S)
        assert await log.trim() == 0
        owner = await log.claim("destination.crm", letters)
        transaction = owner.begin()
        transaction.advance(letters, Position(1))
        await transaction.commit()
        assert await log.trim() == 1
        clock.advance(400 * DAY_S)
        assert await log.trim() == 0


YEARS_S = 3650 * DAY_S


async def test_a_clock_years_ahead_for_a_moment_removes_nothing(
    data: DataDir, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What everyone has read and the memory of dedupe is rebuilt from stays; one error tells of the clock."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await _output(log, OUT)
        await log.trim()
        clock.leap(YEARS_S)
        for _ in range(3):
            clock.advance(3600)
            await _output(log, OUT)
            assert await log.trim() == 0
        assert caplog.text.count("processor.db: the clock is 3650 days ahead") == 1
        clock.leap(-YEARS_S)
        clock.advance(8.8 * DAY_S)
        assert await log.trim() == 0
        clock.advance(0.3 * DAY_S)
        assert await log.trim() == 1
        assert await log.bounds(OUT) == Bounds(1, 4)


async def test_rows_written_under_a_clock_years_ahead_hold_nothing_back(
    data: DataDir, clock: ManualClock
) -> None:
    """Put right, the clock would be behind them for years: they go with what was written next."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        clock.leap(YEARS_S)
        await _output(log, OUT)
        await _output(log, OUT)
        clock.leap(-YEARS_S)
        clock.advance(30 * DAY_S)
        await _output(log, OUT)
        assert await log.trim() == 0, "nobody can tell their age before the next one is old"
        clock.advance(9.1 * DAY_S)
        assert await log.trim() == 3


async def test_a_process_started_under_a_clock_years_ahead_does_not_believe_it(
    data: DataDir, clock: ManualClock
) -> None:
    """The time known is in the file, whatever was written under the wrong clock meanwhile."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await _output(log, OUT)
        await log.trim()
    clock.leap(YEARS_S)
    for _ in range(2):
        async with SqliteLog(data, clock, writers=WRITERS) as log:
            await _output(log, OUT)
            assert await log.trim() == 0


async def test_a_leap_that_lasts_for_a_day_is_believed(data: DataDir, clock: ManualClock) -> None:
    """An installation switched off for a month goes on removing what is old, a day late; a weekend is believed at once."""
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await _output(log, OUT)
        await log.trim()
        clock.leap(30 * DAY_S)
        assert await log.trim() == 0
        clock.advance(DAY_S)
        assert await log.trim() == 1
        await _output(log, OUT)
        clock.advance(7 * DAY_S)
        assert await log.trim() == 0
        clock.leap(2.5 * DAY_S)
        assert await log.trim() == 1


async def test_an_idle_log_is_not_written_to_for_its_clocks_sake(data: DataDir, clock: ManualClock) -> None:
    """The time believed is noted once an hour at most."""
    async with SqliteLog(data, clock, writers=["collector"]) as log:
        await log.trim()
        for _ in range(3):
            clock.advance(60)
            before = (data.log / "collector.db-wal").read_bytes()
            await log.trim()
            assert (data.log / "collector.db-wal").read_bytes() == before
