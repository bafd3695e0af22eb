"""The collector's log through the spool: goes on acknowledging, keeps order, drains, hands over, stays within its bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

import pytest

from headwater.clock import ManualClock
from headwater.errors import AlreadyRunning, LogError, LogUnavailable
from headwater.log import spool
from headwater.log.memory import MemoryLog
from headwater.log.open import spooled
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.log.spool import SpooledLog
from headwater.log.spool_folder import Folder
from headwater.log.spool_store import Store
from headwater.log.topics import ACCEPTED
from headwater.metrics import SPOOL_BYTES, SPOOL_DRAINED, SPOOLED_EVENTS
from headwater.paths import DataDir
from tests.contracts.log.harness import read_all
from tests.support.spooling import RecordingFolder, entry

IN = TopicPartition(ACCEPTED, 0)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses and holds in milliseconds."""
    monkeypatch.setattr(spool, "HOLD_S", 0.1)
    monkeypatch.setattr(spool, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(spool, "LONGEST_PAUSE_S", 0.01)


def made(inner: MemoryLog, folder: Folder | Path, capacity: int = 1 << 20) -> SpooledLog:
    """A spooled log over the inner one."""
    place = folder if isinstance(folder, Folder) else Folder(folder)
    return SpooledLog(inner, Store(place, capacity, ManualClock(), 4096), ManualClock(), 2)


async def until(what: Callable[[], bool]) -> None:
    """Let the loop turn until it is so."""
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.002)


async def values(log: MemoryLog, tp: TopicPartition = IN) -> list[bytes]:
    """What the inner log holds."""
    return [record.value or b"" for record in await read_all(log, tp)]


def down(inner: MemoryLog, times: int = 1_000_000) -> None:
    """Let appends fail from now on."""
    inner.faults.fail("append", times=times)


def up(inner: MemoryLog) -> None:
    """Let appends succeed again."""
    inner.faults._planned.clear()


@pytest.fixture
def inner() -> MemoryLog:
    """The log behind the spool."""
    return MemoryLog(2, ManualClock())


@pytest.fixture
async def log(inner: MemoryLog, tmp_path: Path) -> AsyncIterator[SpooledLog]:
    """It, through a spool."""
    async with made(inner, tmp_path / "spool") as opened:
        yield opened


async def test_while_the_log_answers_nothing_touches_the_disk(
    log: SpooledLog, inner: MemoryLog, tmp_path: Path
) -> None:
    """The spool costs nothing on a good day."""
    for n in range(20):
        await log.append([entry(b"%d" % n)])
    assert await values(inner) == [b"%d" % n for n in range(20)]
    assert not Folder(tmp_path / "spool").holds_segments()
    assert not log.state.spooling


async def test_an_outage_is_acknowledged_and_drained_in_order(log: SpooledLog, inner: MemoryLog) -> None:
    """Before, during and after: every partition has everything once, in the order of the acknowledgements."""
    spooled_before, drained_before = SPOOLED_EVENTS._value.get(), SPOOL_DRAINED._value.get()
    for n in range(60):
        if n == 20:
            down(inner)
        if n == 40:
            up(inner)
        await log.append([entry(b"%d" % n, n % 2)])
        assert not 20 <= n < 40 or log.state.spooling
    await until(lambda: not log.state.spooling)
    await log.append([entry(b"60", 0)])
    assert await values(inner, IN) == [b"%d" % n for n in range(0, 61, 2)]
    assert await values(inner, TopicPartition(ACCEPTED, 1)) == [b"%d" % n for n in range(1, 61, 2)]
    assert SPOOLED_EVENTS._value.get() - spooled_before >= 20
    assert SPOOLED_EVENTS._value.get() - spooled_before == SPOOL_DRAINED._value.get() - drained_before
    assert SPOOL_BYTES._value.get() == 0


async def test_a_silent_log_holds_a_request_once_and_for_a_bounded_time(
    log: SpooledLog, inner: MemoryLog
) -> None:
    """The first append waits HOLD_S; while the spool is in use none waits at all, though the log still says nothing."""
    inner.faults.hold()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await log.append([entry(b"0")])
    assert loop.time() - began >= spool.HOLD_S
    for n in range(1, 20):  # the inner log never answers: each of these could only be answered from the disk
        await log.append([entry(b"%d" % n)])
    assert log.state.spooling
    assert await values(inner) == []
    inner.faults.release()
    await until(lambda: not log.state.spooling)
    assert list(dict.fromkeys(await values(inner))) == [b"%d" % n for n in range(20)]


async def test_an_append_whose_answer_was_lost_is_there_twice_and_in_order(
    log: SpooledLog, inner: MemoryLog
) -> None:
    """Written, but said to have failed: at least once, and dedupe sees the copy right behind."""
    inner.faults.fail("append", written=True)
    for n in range(5):
        await log.append([entry(b"%d" % n)])
    await until(lambda: not log.state.spooling)
    found = await values(inner)
    assert found.count(b"0") == 2
    assert list(dict.fromkeys(found)) == [b"%d" % n for n in range(5)]


async def test_a_full_spool_refuses_and_takes_again_once_it_has_drained(
    inner: MemoryLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """LogUnavailable with the figures, which the collector answers as 503; said once in the log, not per request."""
    async with made(inner, tmp_path / "spool", 40_000) as log:
        down(inner)
        kept = 0
        with pytest.raises(LogUnavailable, match=r"spool is full: .* of 40000 bytes"):  # noqa: PT012 - at some append
            while True:
                await log.append([entry(b"%d " % kept + bytes(range(256)) * 4)])
                kept += 1
        with pytest.raises(LogUnavailable, match="spool is full"):
            await log.append([entry(b"another" + bytes(range(256)) * 4)])
        assert "spool is full" in log.state.refusing
        assert log.state.bytes <= 40_000
        assert sum("spool is full" in record.getMessage() for record in caplog.records) == 1
        up(inner)
        await until(lambda: not log.state.spooling)
        assert log.state.refusing == ""
        await log.append([entry(b"last")])
    assert [value.split(b" ")[0] for value in await values(inner)] == [
        *(b"%d" % n for n in range(kept)),
        b"last",
    ]


async def test_an_unwritable_disk_refuses_and_the_log_alone_goes_on(inner: MemoryLog, tmp_path: Path) -> None:
    """Both refuse: the client is told so. The log answers again: nothing is wrong any more."""
    folder = RecordingFolder(tmp_path / "spool")
    async with made(inner, folder) as log:
        folder.full = True
        down(inner)
        with pytest.raises(LogUnavailable, match=r"spool cannot be used|cannot be used: No space left"):
            await log.append([entry(b"refused")])
        up(inner)
        await until(lambda: not log.state.spooling)
        await log.append([entry(b"taken")])
        folder.full = False
    assert await values(inner) == [b"taken"]


async def test_the_next_start_drains_what_was_left_before_anything_new(
    inner: MemoryLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing with the log away leaves the rest on disk, and says so; new events go behind it."""
    async with made(inner, tmp_path / "spool") as log:
        down(inner)
        for n in range(10):
            await log.append([entry(b"%d" % n)])
    assert "the next start of the collector drains them" in caplog.text
    up(inner)
    async with made(inner, tmp_path / "spool") as log:
        await log.append([entry(b"10")])
        await until(lambda: not log.state.spooling)
    assert await values(inner) == [b"%d" % n for n in range(11)]


async def test_closing_drains_what_moves(inner: MemoryLog, tmp_path: Path) -> None:
    """The log is back when the collector is told to leave: nothing stays behind."""
    async with made(inner, tmp_path / "spool") as log:
        inner.faults.hold()
        for n in range(5):
            await log.append([entry(b"%d" % n)])
        inner.faults.release()
    assert list(dict.fromkeys(await values(inner))) == [b"%d" % n for n in range(5)]
    assert not Folder(tmp_path / "spool").holds_segments()


async def test_a_killed_collector_drains_at_its_next_start(inner: MemoryLog, tmp_path: Path) -> None:
    """Nothing is flushed or said at the end of the first life."""
    log = await made(inner, tmp_path / "spool").__aenter__()
    down(inner)
    for n in range(10):
        await log.append([entry(b"%d" % n)])
    await log.abandon()
    with pytest.raises(LogUnavailable, match="closing"):
        await log.append([entry(b"too late")])
    up(inner)
    async with made(inner, tmp_path / "spool") as log:
        await until(lambda: not log.state.spooling)
    assert await values(inner) == [b"%d" % n for n in range(10)]


class Unreachable(MemoryLog):
    """A log that cannot be opened for some time."""

    attempts = 0

    async def __aenter__(self) -> Self:
        """Fail three times."""
        self.attempts += 1
        if self.attempts < 4:
            raise LogUnavailable("no broker answers")
        return self


async def test_a_start_without_the_log_takes_events(tmp_path: Path) -> None:
    """A collector that is restarted during an outage acknowledges; what has to ask the log says why it cannot."""
    inner = Unreachable(2, ManualClock())
    async with made(inner, tmp_path / "spool") as log:
        await log.append([entry(b"0", 1)])
        assert log.partitions(ACCEPTED) == 2
        with contextlib.suppress(LogUnavailable):  # it may be open by now
            await log.bounds(IN)
        with pytest.raises(ValueError, match="partitions 0 to 1, not 2"):
            await log.append([entry(b"x", 2)])
        await until(lambda: not log.state.spooling)
        assert await values(inner, TopicPartition(ACCEPTED, 1)) == [b"0"]
        assert (await log.bounds(TopicPartition(ACCEPTED, 1))).end == 1


async def test_a_mistake_is_the_callers_and_opens_no_circuit(log: SpooledLog) -> None:
    """An unknown partition is no outage."""
    with pytest.raises(ValueError, match="partitions 0 to 1, not 7"):
        await log.append([entry(b"x", 7)])
    assert not log.state.spooling


async def test_a_log_that_refuses_for_another_reason_is_not_worked_around(
    log: SpooledLog, inner: MemoryLog
) -> None:
    """Only an unavailable log is spooled for: other errors reach the caller."""
    inner.faults.fail("append", error=LogError("the topic has another number of partitions"))
    with pytest.raises(LogError, match="another number"):
        await log.append([entry(b"x")])
    assert not log.state.spooling


async def test_whatever_the_drainer_meets_it_tries_again(log: SpooledLog, inner: MemoryLog) -> None:
    """An undeclared error while draining forgets nothing."""
    down(inner, 1)
    inner.faults.fail("append", error=RuntimeError("a defect"), times=2)
    await log.append([entry(b"0")])
    await until(lambda: not log.state.spooling)
    assert await values(inner) == [b"0"]


async def test_order_holds_under_many_writers_through_flapping(log: SpooledLog, inner: MemoryLog) -> None:
    """Sixteen writers, a log that goes and comes: each writer's events are there in its order."""

    async def write(writer: int) -> None:
        for n in range(40):
            await log.append([entry(b"%d %d" % (writer, n), writer % 2)])
            await asyncio.sleep(0)

    async def flap() -> None:
        for _ in range(10):
            down(inner)
            await asyncio.sleep(0.01)
            up(inner)
            await asyncio.sleep(0.01)

    await asyncio.gather(flap(), *(write(writer) for writer in range(16)))
    up(inner)
    await until(lambda: not log.state.spooling)
    for writer in range(16):
        mine = [
            v
            for v in await values(inner, TopicPartition(ACCEPTED, writer % 2))
            if v.startswith(b"%d " % writer)
        ]
        assert mine == [b"%d %d" % (writer, n) for n in range(40)]


async def test_a_second_collector_on_the_folder_is_refused(log: SpooledLog, tmp_path: Path) -> None:
    """Its inner log is not even opened."""
    with pytest.raises(AlreadyRunning, match="is the collector of this folder already"):
        await made(MemoryLog(2), tmp_path / "spool").__aenter__()


async def test_a_spool_of_0_bytes_is_none_but_for_what_is_left(inner: MemoryLog, tmp_path: Path) -> None:
    """`log.spool_bytes: 0` switches it off; what an earlier start has kept is drained all the same."""
    data = DataDir(tmp_path)
    assert spooled(inner, 0, 2, data, ManualClock()) is inner
    async with spooled(inner, 1 << 20, 2, data, ManualClock()) as log:
        down(inner)
        await log.append([entry(b"left")])
    up(inner)
    async with spooled(inner, 0, 2, data, ManualClock()) as log:
        assert isinstance(log, SpooledLog)
        await until(lambda: not log.state.spooling)
    assert await values(inner) == [b"left"]
    assert spooled(inner, 0, 2, data, ManualClock()) is inner


async def test_state_tells_how_long_the_oldest_waits(inner: MemoryLog, tmp_path: Path) -> None:
    """For alerts: bytes and seconds."""
    clock = ManualClock()
    store = Store(Folder(tmp_path / "spool"), 1 << 20, clock)
    async with SpooledLog(inner, store, clock, 2) as log:
        assert log.state == spool.SpoolState(False, 0, 1 << 20, 0.0, "")
        down(inner)
        await log.append([Entry(ACCEPTED, 0, Record(b"x"))])
        clock.advance(7)
        assert log.state.oldest_s == 7.0
        assert log.state.bytes > 0
        up(inner)
        await until(lambda: not log.state.spooling)
