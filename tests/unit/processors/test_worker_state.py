"""The worker's state: written in time, rebuilt where it is gone or not to be believed, and never decided without."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from headwater.errors import LogUnavailable, SchemaMismatch, StateError
from headwater.log.protocol import Bounds, TopicPartition
from headwater.log.topics import DROPPED, PROCESSED
from headwater.state.lmdb import open_state
from headwater.state.memory import MemorySeen
from processors import partition
from processors.dedupe import fingerprint
from tests.support.rig import POISON, TABLES, Rig, accepted
from tests.unit.processors.impatience import impatient

__all__ = ["impatient"]


async def test_the_state_is_written_after_a_while_even_if_little_happens() -> None:
    """A quiet pipeline restarts from a recent state."""
    rig = Rig()
    one, consumer = await rig.start()
    await rig.accept([accepted(1, "a")])
    await rig.drain(one, consumer)
    tp = TopicPartition(PROCESSED, 0)
    assert rig.states[0].folded(tp) == 0
    rig.clock.advance(partition.FLUSH_S + 1)
    await one._once(consumer)
    assert rig.states[0].folded(tp) > 0
    assert rig.states[0].seen.has(fingerprint("web", "a"), 0)
    await one.close()
    await consumer.close()


async def test_a_clock_that_leaps_years_ahead_for_a_moment_costs_no_memory(tmp_path: Path) -> None:
    """NTP gone wrong: the state is written many times meanwhile, and later copies of earlier events are dropped."""
    rig = Rig().on_disk(tmp_path)
    one, consumer = await rig.start()
    await rig.accept([accepted(n, f"m{n}") for n in range(50)])
    await rig.drain(one, consumer)
    years = 10 * 365 * 86_400
    rig.clock.leap(years)
    for n in range(50, 50 + 2 * 256 // 16):  # sweeps every shard of the memory twice
        await rig.accept([accepted(n, f"m{n}", received_ms=rig.clock.now_ms())])
        await rig.drain(one, consumer)
        rig.clock.advance(partition.FLUSH_S + 1)
        await one._once(consumer)
    rig.clock.leap(-years)
    copies = range(50 + 2 * 256 // 16)
    await rig.accept([accepted(100 + n, f"m{n}", received_ms=rig.clock.now_ms()) for n in copies])
    await rig.drain(one, consumer)
    await one.close()
    await consumer.close()
    assert len(await rig.lines(DROPPED)) == len(copies)
    await rig.check()


def contents(folder: Path) -> list[object]:
    """What a state folder holds."""
    state = open_state(folder)
    found = [dict(state.table(name).items()) for name in TABLES]
    seen = [state.seen.has(fingerprint("web", f"m{n}"), 0) for n in range(100)]
    log_id = state.log_id
    state.close()
    return [found, seen, log_id]


async def test_a_deleted_state_folder_is_rebuilt_equal(tmp_path: Path) -> None:
    """Deleting the folder loses nothing: profiles and fingerprints come back from the log."""
    rig = Rig().on_disk(tmp_path)
    events = [
        accepted(n, f"m{n % 60}", anonymous_id=f"v{n % 7}", user_id=f"u{n % 3}", kind="identify")
        for n in range(80)
    ]
    await rig.accept([*events, accepted(99, "m99", name=POISON)])
    await rig.finish()
    before = contents(tmp_path / "0")
    shutil.rmtree(tmp_path / "0")
    await rig.finish()
    assert contents(tmp_path / "0") == before
    await rig.accept([accepted(100, "m3"), accepted(101, "m99")])
    await rig.finish()
    await rig.check()


async def test_the_state_folder_of_another_log_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither one with another id nor one that is ahead of the log; both are rebuilt, loudly."""
    old = Rig().on_disk(tmp_path)
    await old.accept([accepted(1, "a"), accepted(2, "b")])
    await old.finish()
    fresh = Rig().on_disk(tmp_path)
    await fresh.accept([accepted(3, "a")])
    with caplog.at_level(logging.WARNING, logger="headwater.state"):
        await fresh.finish()
    assert "discarded" in caplog.text
    assert [one["messageId"] for one in await fresh.lines(PROCESSED)] == ["a"]
    await fresh.check()


async def test_a_state_ahead_of_the_log_is_rebuilt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log restored from an older backup has the same id and ends before the state does."""
    rig = Rig().on_disk(tmp_path)
    await rig.accept([accepted(1, "a")])
    await rig.finish()
    state = open_state(tmp_path / "0", sync=False)
    state.commit(
        puts={}, seen=[(fingerprint("web", "b"), 99_000)], folded={TopicPartition(PROCESSED, 0): 10_000}
    )
    state.close()
    await rig.accept([accepted(2, "b"), accepted(3, "a")])
    with caplog.at_level(logging.WARNING, logger="headwater.state"):
        await rig.finish()
    assert "10000" in caplog.text
    assert [one["messageId"] for one in await rig.lines(PROCESSED)] == ["a", "b"]
    await rig.check()


async def test_a_state_of_another_version_stops_the_stage_with_what_to_type(tmp_path: Path) -> None:
    """A refusal is not retried for ever."""

    def refuse(_number: int, _log_id: str) -> None:
        raise SchemaMismatch("rm -r it")

    rig = Rig(open_state=refuse)  # type: ignore[arg-type]
    one, consumer = await rig.start()
    with pytest.raises(SchemaMismatch, match="rm -r"):
        await one.run(consumer)
    await consumer.close()


async def test_a_failing_state_stops_the_batch_instead_of_dropping_its_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without its memory dedupe can decide nothing; the batch is repeated when the state is back."""
    rig = Rig()
    one, consumer = await rig.start()
    await rig.accept([accepted(1, "a"), accepted(2, "b")])

    def fails(_self: object, _key: bytes, _since: int) -> bool:
        raise StateError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(MemorySeen, "has", fails)
        with pytest.raises(StateError):
            await rig.drain(one, consumer)
    await one._abandon_all()
    await rig.drain(one, consumer)
    await one.close()
    await consumer.close()
    assert await rig.lines(DROPPED) == []
    await rig.check()


async def test_a_log_that_fails_while_a_partition_is_opened_leaves_the_state_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB refuses a folder that is still open, so every way out of opening closes it."""
    rig = Rig().on_disk(tmp_path)
    await rig.accept([accepted(1, "a")])
    one, consumer = await rig.start()
    bounds, failures = rig.log.bounds, iter(range(3))

    async def fails(tp: TopicPartition) -> Bounds:
        if tp.topic in (PROCESSED, DROPPED) and next(failures, None) is not None:
            raise LogUnavailable("not now")
        return await bounds(tp)

    monkeypatch.setattr(rig.log, "bounds", fails)
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            await one._once(consumer)
        await one._abandon_all()
    await rig.drain(one, consumer)
    await one.close()
    await consumer.close()
    await rig.check()
