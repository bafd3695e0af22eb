"""The worker: exactly once, whatever dies, and nothing can stop it but the log."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from headwater import metrics
from headwater.clock import SystemClock
from headwater.errors import OffsetOutOfRange
from headwater.log.protocol import Batch, Position, TopicPartition
from headwater.log.topics import ACCEPTED, DROPPED, PROCESSED, PROCESSOR_GROUP
from headwater.paths import DataDir
from headwater.state.lmdb import open_state
from headwater.workspace.live import LiveWorkspace
from processors import partition, worker
from processors.dedupe import fingerprint
from tests.support.rig import POISON, Rig, accepted, workspace
from tests.unit.processors.impatience import impatient

__all__ = ["impatient"]


async def test_every_event_is_processed_or_dropped_and_the_totals_say_so() -> None:
    """Copies are dropped within a batch and across batches; one processed event a messageId."""
    rig = Rig()
    await rig.accept([accepted(1, "a"), accepted(2, "a"), accepted(3, "b", kind="identify", user_id="u")])
    await rig.finish()
    await rig.accept([accepted(4, "b"), accepted(5, "c")])
    await rig.finish()
    await rig.check()
    assert [one["messageId"] for one in await rig.lines(PROCESSED)] == ["a", "b", "c"]
    (totals,) = (await rig.totals()).values()
    assert totals.accepted == 5
    assert totals.processed == {"web": {"track": 2, "identify": 1}}
    assert totals.dropped == {"web": {"duplicate": 2}}


async def test_a_line_that_is_no_event_is_kept_and_its_neighbours_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Undecodable text is preserved, bytes that are no text too; the log names the fault without quoting it."""
    rig = Rig()
    await rig.accept([accepted(1, "a")], lines=[b'{"half":', b"\xff\xfe", b"", b"[1]"])
    await rig.accept([accepted(2, "b")])
    with caplog.at_level(logging.ERROR, logger="headwater.processors"):
        await rig.finish()
    dropped = await rig.lines(DROPPED)
    assert [one["event"] for one in dropped] == [
        {"raw": '{"half":'},
        {"rawBase64": "//4="},
        {"raw": ""},
        {"raw": "[1]"},
    ]
    assert {one["reason"] for one in dropped} == {"undecodable"}
    assert [one["messageId"] for one in await rig.lines(PROCESSED)] == ["a", "b"]
    await rig.check()
    assert "undecodable" in caplog.text
    assert "half" not in caplog.text


async def test_a_processor_with_a_bug_costs_one_event_which_is_kept_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The event goes to dropped as it was accepted; the log says where it happened, not what the event said."""
    rig = Rig()
    await rig.accept([accepted(1, "a"), accepted(2, "secret-id", name=POISON), accepted(3, "c")])
    with caplog.at_level(logging.ERROR, logger="headwater.processors"):
        await rig.finish()
    (dropped,) = await rig.lines(DROPPED)
    assert (dropped["reason"], dropped["processor"], dropped["detail"]) == (
        "processor_error",
        "failing",
        "ZeroDivisionError",
    )
    kept = dropped["event"]
    assert isinstance(kept, dict)
    assert kept["body"]["properties"] == {"serial": 2}
    assert "rig.py:" in caplog.text
    assert "secret-id" not in caplog.text
    await rig.check()


async def test_output_records_are_of_sensible_size() -> None:
    """At most 256 events and about 256 KiB a record; every line stays whole and counted."""
    rig = Rig()
    await rig.accept([accepted(n, str(n), name="x" * (1 if n < 600 else 9_000)) for n in range(700)])
    await rig.finish()
    records = await rig.records(PROCESSED)
    assert all(record.events <= 256 and len(record.value or b"") <= 256 * 1024 for record in records)
    assert sum(record.events for record in records) == 700
    assert [record.events for record in records[:2]] == [256, 256]
    await rig.check()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 25])
async def test_a_crash_at_any_step_repeats_or_completes_but_never_both(
    steps: int, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log dies after a number of turns of the loop; unacknowledged writes reach the disk or do not."""
    monkeypatch.setattr(partition, "FLUSH_KEYS", 2)
    rig = Rig()
    ids = "abcab"
    await rig.accept([accepted(n, one, kind="identify", user_id=one) for n, one in enumerate(ids)])
    await rig.finish()
    one, consumer = await rig.start()
    await rig.accept([accepted(10 + n, one) for n, one in enumerate("bcde")])
    rig.log.faults.hold()
    turn = asyncio.ensure_future(rig.drain(one, consumer))
    for _ in range(steps):
        await asyncio.sleep(0)
    await rig.log.crash(keep_unacknowledged=keep)
    await asyncio.wait([turn])
    assert turn.exception() is not None
    await one._abandon_all()
    rig.log = rig.log.reopen()
    await rig.finish()
    await rig.check()
    await rig.check_state("abcde")


@pytest.mark.parametrize("written", [False, True])
async def test_a_failed_commit_is_waited_out_and_repeated_only_if_it_was_not_written(written: bool) -> None:
    """LogUnavailable with an unknown outcome: the position in the log decides."""
    rig = Rig()
    stop = asyncio.Event()
    rig.stop = stop
    one, consumer = await rig.start()
    await one._once(consumer)  # the partition is open, its first totals are written
    rig.log.faults.fail("transaction", written=written)
    await rig.accept([accepted(1, "a"), accepted(2, "b")])
    running = asyncio.ensure_future(one.run(consumer))
    while any(lag.events for lag in await rig.log.lag(PROCESSOR_GROUP, [ACCEPTED])):
        await asyncio.sleep(0)
    stop.set()
    await running
    await consumer.close()
    await rig.check()
    assert len(await rig.lines(PROCESSED)) == 2


async def test_a_fenced_owner_throws_its_work_away_and_waits_for_its_partition() -> None:
    """Another claim wins; the loser writes nothing more and does not claim back by itself."""
    rig = Rig()
    one, consumer = await rig.start()
    await rig.accept([accepted(1, "a")])
    await rig.drain(one, consumer)
    owner = await rig.log.claim(PROCESSOR_GROUP, TopicPartition(ACCEPTED, 0))
    await rig.accept([accepted(2, "b")])
    for _ in range(5):
        await one._once(consumer)
    assert len(await rig.lines(PROCESSED)) == 1
    assert one._open == {}
    await owner.close()
    await one.assigned([TopicPartition(ACCEPTED, 0)])
    await rig.drain(one, consumer)
    await one.close()
    await consumer.close()
    await rig.check()


async def test_partitions_move_between_workers_without_loss_or_repetition() -> None:
    """A second worker joins in the middle and the first one leaves."""
    rig = Rig(partitions=3)
    first, consumer = await rig.start()
    await rig.accept([accepted(n, str(n), anonymous_id=str(n)) for n in range(30)])
    await first._once(consumer)
    await rig.accept([accepted(n, str(n % 40), anonymous_id=str(n % 40)) for n in range(30, 60)])
    second, other = await rig.start()
    await first._once(consumer)
    await second._once(other)
    await consumer.close()
    await rig.drain(second, other)
    await second.close()
    await other.close()
    await rig.finish()
    await rig.check()
    await rig.check_state(map(str, range(40)))


async def test_a_batch_of_an_earlier_assignment_is_not_processed() -> None:
    """The group is dealt out anew between fetching and processing: the batch is fetched again, not used."""
    rig = Rig()
    one, consumer = await rig.start()
    await one._once(consumer)
    await rig.accept([accepted(1, "a"), accepted(2, "b")])
    poll = consumer.poll

    async def rebalanced(**limits: float) -> list[Batch]:
        fetched = await poll(**limits)  # type: ignore[arg-type]
        if fetched:
            await (await rig.log.consumer(PROCESSOR_GROUP, [ACCEPTED])).close()
            while not one._open:
                one._begin(consumer)
                await one._wait_for_openings()
                await one._adopt(consumer)
        return fetched

    consumer.poll = rebalanced  # type: ignore[method-assign]
    await one._once(consumer)
    assert await rig.lines(PROCESSED) == []
    consumer.poll = poll  # type: ignore[method-assign]
    await rig.drain(one, consumer)
    await one.close()
    await consumer.close()
    await rig.check()


async def test_what_one_partition_learns_of_a_person_reaches_the_others() -> None:
    """Profiles are folded by every partition; a link learnt in one resolves events in another."""
    rig = Rig(partitions=4)
    await rig.accept(
        [accepted(n, f"i{n}", anonymous_id=f"v{n}", user_id=f"u{n}", kind="identify") for n in range(12)]
    )
    await rig.finish()
    await rig.finish()
    for state in rig.states.values():
        assert len(dict(state.table("links").items())) == 12


async def test_a_new_workspace_is_in_force_for_the_next_batch() -> None:
    """Switching dedupe off lets copies through from the next batch on; switched on again it knows all of them."""
    rig = Rig()
    one, consumer = await rig.start()
    await rig.accept([accepted(1, "a")])
    await rig.drain(one, consumer)
    rig.live.replace(workspace(dedupe={"enabled": False}))
    await rig.accept([accepted(2, "a"), accepted(3, "b")])
    await rig.drain(one, consumer)
    rig.live.replace(workspace())
    await rig.accept([accepted(4, "b"), accepted(5, "c")])
    await rig.drain(one, consumer)
    await one.close()
    await consumer.close()
    assert [one["messageId"] for one in await rig.lines(PROCESSED)] == ["a", "a", "b", "c"]


async def test_events_lost_by_the_log_are_reported_and_the_rest_is_processed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A log that lost its beginning is an error in the logs, not a worker that stands still."""
    rig = Rig()
    await rig.accept([accepted(1, "a")])
    await rig.finish()
    await rig.accept([accepted(2, "b")])
    await rig.accept([accepted(3, "c")])
    tp = TopicPartition(ACCEPTED, 0)
    rig.log.trim(tp, (await rig.log.bounds(tp)).end - 1)
    del rig.serials[2]
    with caplog.at_level(logging.ERROR, logger="headwater.processors"):
        await rig.finish()
    assert "lost before they were processed" in caplog.text
    assert [one["messageId"] for one in await rig.lines(PROCESSED)] == ["a", "c"]


async def test_a_gap_in_a_partition_that_is_taken_away_just_then_is_its_next_owners(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The poll has found the gap, the group is dealt out anew: nothing is read on here, and the worker does not end."""
    rig = Rig()
    one, consumer = await rig.start()
    gap = OffsetOutOfRange(ACCEPTED, 0, 1, 5, 9)

    async def taken_away(**_: float) -> list[Batch]:
        await one.revoked([TopicPartition(ACCEPTED, 0)])
        await consumer.close()
        raise gap

    consumer.poll = taken_away  # type: ignore[method-assign]
    await one._once(consumer)
    assert "lost before they were processed" in caplog.text
    await one.close()


async def test_a_log_shorter_than_what_was_read_of_it_is_processed_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An older copy was put in its place and went on: nothing acknowledged is passed over, nothing passes twice."""
    rig = Rig()
    await rig.accept([accepted(1, "a")])
    await rig.finish()
    await rig.accept([accepted(2, "b")])
    tp = TopicPartition(ACCEPTED, 0)
    await rig.log.store(PROCESSOR_GROUP, {tp: Position((await rig.log.bounds(tp)).end + 7)})
    one, consumer = await rig.start()
    await one._once(consumer)
    assert "replaced by an older copy" in caplog.text
    await rig.drain(one, consumer)
    await one.close()
    await consumer.close()
    assert [one["messageId"] for one in await rig.lines(PROCESSED)] == ["a", "b"]


async def test_run_processes_until_it_is_stopped(tmp_path: Path) -> None:
    """The stage as the supervisor calls it, with its state in the data folder."""
    rig = Rig()
    stop = asyncio.Event()
    data = DataDir(tmp_path).make()
    running = asyncio.ensure_future(
        worker.run(LiveWorkspace(workspace()), rig.log, data, SystemClock(), stop)
    )
    await rig.accept([accepted(1, "a"), accepted(2, "a")])
    while len(await rig.records(DROPPED)) < 1:
        await asyncio.sleep(0)
    stop.set()
    await running
    await rig.check()
    state = open_state(data.state / "0")
    assert state.seen.has(fingerprint("web", "a"), 0)
    state.close()


async def test_metrics_count_what_was_committed() -> None:
    """Counters move with the totals, by source and type or reason."""
    before = _counted()
    rig = Rig()
    await rig.accept([accepted(1, "a"), accepted(2, "a"), accepted(3, "b", name=POISON)])
    await rig.finish()
    assert [after - then for after, then in zip(_counted(), before, strict=True)] == [1, 1, 1]


def _counted() -> list[float]:
    return [
        metrics.PROCESSED_EVENTS.labels("web", "track")._value.get(),
        metrics.DROPPED_EVENTS.labels("web", "duplicate")._value.get(),
        metrics.DROPPED_EVENTS.labels("web", "processor_error")._value.get(),
    ]


async def test_bot_verdicts_are_counted_in_the_totals() -> None:
    """By source, class and action; an event with a crawler's agent is flagged, not lost."""
    rig = Rig()
    crawler = accepted(1, "a")
    crawler.user_agent = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    await rig.accept([crawler])
    await rig.finish()
    (totals,) = (await rig.totals()).values()
    assert [sum(actions.values()) for actions in totals.bots["web"].values()] == [1]
    (event,) = await rig.lines(PROCESSED)
    assert "bot" in event["context"]  # type: ignore[operator]


async def test_the_lag_of_a_partition_that_was_given_up_is_told_as_nothing() -> None:
    """Its new owner tells it; an old number beside the new one would make the sum over all processes wrong."""
    rig = Rig()
    await rig.accept([accepted(1, "m1")])
    worker, consumer = await rig.start()
    worker._begin(consumer)
    await worker._wait_for_openings()
    await worker._adopt(consumer)
    await worker._measure()
    gauge = metrics.PROCESSOR_LAG.labels("0")
    assert gauge._value.get() == 1
    await worker.close()
    rig.clock.advance(60)
    await worker._measure()
    assert gauge._value.get() == 0
    await consumer.close()
