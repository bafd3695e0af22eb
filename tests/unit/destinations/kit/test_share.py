"""Several processes of one destination: each has its share, whoever dies is taken over, and the counts add up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from destinations.kit import control, dlq, share
from destinations.kit.books import Books, key_of
from destinations.kit.delivery import Delivery
from destinations.kit.letters import dead_topic
from destinations.kit.records import Totals, encode
from headwater.errors import Fenced
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Batch, Entry, Position, Record, TopicPartition
from headwater.log.topics import DESTINATION_TOTALS, PROCESSED, RETRY_PREFIX, RETRY_TIERS
from headwater.run.funnel import DestinationFlow, funnel
from tests.support.delivering import NAME, Rig, event, letters_of, publish, workspace
from tests.support.receiver import Answer, Receiver

PARTITIONS = 4
GROUP = f"destination.{NAME}"
ALL = frozenset(
    [TopicPartition(PROCESSED, n) for n in range(PARTITIONS)]
    + [TopicPartition(RETRY_PREFIX + NAME, n) for n in range(len(RETRY_TIERS))]
)


class Process:
    """A delivery with a log of its own on the store that all share, as a process on another host has."""

    def __init__(self, rig: Rig, url: str, **options: object) -> None:
        self.rig = Rig(PARTITIONS)
        self.rig.log, self.rig.clock = rig.log.reopen(), rig.clock
        self.delivery: Delivery = self.rig.delivery(workspace(url, **options))
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.delivery.run(self.stop))

    @property
    def held(self) -> frozenset[TopicPartition]:
        """The partitions whose lanes run there."""
        return self.delivery.share.held

    async def leave(self) -> None:
        """Stop in order."""
        self.stop.set()
        await self.task

    async def die(self) -> None:
        """SIGKILL: nothing is finished, said or written any more."""
        await self.rig.log.crash()
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
            await self.task


@asynccontextmanager
async def processes(rig: Rig, url: str, count: int, **options: object) -> AsyncIterator[list[Process]]:
    """So many processes, each with a share."""
    started = [Process(rig, url, **options) for _ in range(count)]
    try:
        await dealt(started)
        yield started
    finally:
        for process in started:
            if not process.task.done():
                await process.leave()


async def until(met: Callable[[], bool]) -> None:
    """Wait for something that no topic tells of."""
    async with asyncio.timeout(20):
        while not met():
            await asyncio.sleep(0.001)


async def dealt(among: list[Process]) -> None:
    """Wait until each partition has a lane somewhere, and every process some."""
    await until(
        lambda: (
            all(process.held for process in among)
            and sorted(tp for process in among for tp in process.held) == sorted(ALL)
        )
    )


async def published(rig: Rig, first: int, count: int) -> list[str]:
    """Spread events over the partitions; their ids."""
    for number in range(PARTITIONS):
        mine = [event(n) for n in range(first, first + count) if n % PARTITIONS == number]
        await publish(rig.log, mine, per_record=3, partition=number)
    return [f"m{n}" for n in range(first, first + count)]


async def test_two_processes_share_the_partitions_and_count_together() -> None:
    """No partition has two lanes, every event is delivered once, and the rows of both add up."""
    rig = Rig(PARTITIONS)
    async with Receiver() as receiver, processes(rig, receiver.url, 2) as (one, other):
        assert one.held.isdisjoint(other.held)
        ids = await published(rig, 0, 80)
        totals = await rig.until(lambda t: t.delivered == 80)
    assert sorted(receiver.ids) == sorted(ids)
    assert (totals.read, totals.retrying, totals.dead) == (80, 0, 0)


async def test_a_process_that_dies_is_taken_over_and_counted_on() -> None:
    """What it had committed is not delivered again, what came after is delivered by the other, once."""
    rig = Rig(PARTITIONS)
    async with Receiver() as receiver, processes(rig, receiver.url, 2) as (one, other):
        ids = await published(rig, 0, 40)
        await rig.until(lambda t: t.delivered == 40)
        await one.die()
        await dealt([other])
        ids += await published(rig, 40, 40)
        totals = await rig.until(lambda t: t.delivered == 80)
    assert sorted(receiver.ids) == sorted(ids)
    assert totals.read == 80


async def test_one_that_dies_in_mid_batch_loses_nothing() -> None:
    """Requests without an answer are sent again by the other: at least once, each counted once."""
    rig = Rig(PARTITIONS)
    silent, patience = Receiver(rule=lambda _: Answer(silent=True)), {"timeout_s": 1.0}
    async with silent as receiver, processes(rig, receiver.url, 2, delivery=patience) as (one, other):
        ids = await published(rig, 0, 16)
        await receiver.requests(PARTITIONS)
        receiver.rule = lambda _: Answer()
        await one.die()
        await dealt([other])
        totals = await rig.until(lambda t: t.delivered == 16, advance_s=0.5)
    assert set(receiver.ids) == set(ids)
    assert totals.read == 16


async def test_retries_of_one_process_are_delivered_by_whoever_has_their_tier() -> None:
    """A retry is counted where it came from and taken off where it went: the sum tells nothing but the truth."""
    rig = Rig(PARTITIONS)
    async with Receiver(rule=lambda _: Answer(503)) as receiver, processes(rig, receiver.url, 2):
        ids = await published(rig, 0, 40)
        waiting = await rig.until(lambda t: t.read == 40)
        assert waiting.retrying == 40
        receiver.rule = lambda _: Answer()
        totals = await rig.until(lambda t: t.delivered == 40, advance_s=0.5)
        flow = (await funnel(rig.log, [NAME], rig.clock.now_ms())).destinations[NAME]
    assert (totals.read, totals.retrying) == (40, 0)
    assert (flow.delivered, flow.retrying, flow.adds_up) == (40, 0, True)
    assert set(receiver.ids) == set(ids)


async def test_what_is_under_way_is_finished_before_another_gets_the_partition() -> None:
    """A process joins while the first one's outcome is on its way to the log: it waits, and nothing is sent twice."""
    rig = Rig(PARTITIONS)
    async with Receiver() as receiver, processes(rig, receiver.url, 1) as (one,):
        one.rig.log.faults.hold()
        ids = await published(rig, 0, 16)
        await until(lambda: len(receiver.ids) == 16)
        other = Process(rig, receiver.url)
        await until(lambda: all(lane.stop.is_set() for lane in one.delivery.share._lanes.values()))
        assert not other.held
        one.rig.log.faults.release()
        await dealt([one, other])
        await rig.until(lambda t: t.delivered == 16)
        await other.leave()
    assert sorted(receiver.ids) == sorted(ids)


async def test_what_is_not_finished_in_time_is_given_up_and_sent_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver without an answer holds up no other process for long; the counts stay exact."""
    monkeypatch.setattr(share, "REVOKE_S", 0.05)
    rig = Rig(PARTITIONS)
    async with (
        Receiver(rule=lambda _: Answer(silent=True)) as receiver,
        processes(rig, receiver.url, 1) as (one,),
    ):
        ids = await published(rig, 0, 16)
        await receiver.requests(PARTITIONS)
        receiver.rule = lambda _: Answer()
        other = Process(rig, receiver.url)
        await dealt([one, other])
        totals = await rig.until(lambda t: t.delivered == 16)
        await other.leave()
    assert set(receiver.ids) == set(ids)
    assert (totals.read, len(receiver.ids)) == (16, 32)


async def test_an_owner_that_was_fenced_counts_nothing_and_keeps_its_other_partitions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Somebody claims one partition: its outcome is not written, the lanes beside it go on."""
    rig = Rig(PARTITIONS)
    taken = TopicPartition(PROCESSED, 0)
    async with Receiver() as receiver, processes(rig, receiver.url, 1) as (one,):
        await rig.log.claim(GROUP, taken)
        await published(rig, 0, 16)
        totals = await rig.until(lambda t: t.delivered == 12)
        await until(lambda: one.held == ALL - {taken})
        assert totals.read == 12
        assert not one.task.done()
    assert "was claimed again" in caplog.text


async def test_a_partition_that_the_group_gives_to_nobody_else_is_claimed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fence without a new owner: the delivery ends with it after a while, and starts again."""
    monkeypatch.setattr(share, "FENCED_S", 0.01)
    monkeypatch.setattr(share, "LOOK_S", 0.01)
    rig = Rig(PARTITIONS)
    async with Receiver() as receiver, processes(rig, receiver.url, 1) as (one,):
        await rig.log.claim(GROUP, TopicPartition(PROCESSED, 0))
        await published(rig, 0, 16)
        with pytest.raises(Fenced):
            await one.task
        again = Process(rig, receiver.url)
        await rig.until(lambda t: t.delivered == 16)
        await again.leave()


async def test_the_row_of_an_earlier_version_is_carried_on() -> None:
    """An installation that counted in one row loses none of it: it stays, and the rows of the partitions are added."""
    rig = Rig(PARTITIONS)
    before = Totals(destination=NAME, read=1000, delivered=900, retrying=40, dead=60, logs={"0": "one"})
    old = Record(encode(before), key=NAME.encode())
    await rig.log.append([Entry(DESTINATION_TOTALS, 0, old)])
    async with Receiver() as receiver, processes(rig, receiver.url, 2):
        await published(rig, 0, 20)
        totals = await rig.until(lambda t: t.delivered == 920)
    assert totals == Totals(
        destination=NAME, read=1020, delivered=920, retrying=40, dead=60, logs={"0": "one"}
    )
    flow = (await funnel(rig.log, [NAME], rig.clock.now_ms())).destinations[NAME]
    assert flow == DestinationFlow(
        read=1020, delivered=920, retrying=40, dead=60, lag=0, lag_seconds=flow.lag_seconds
    )
    rig.log.compact(TopicPartition(DESTINATION_TOTALS, 0))
    assert await rig.totals() == totals


async def test_letters_are_settled_while_several_processes_run() -> None:
    """The operator's process owns the letters, not the partitions: every lane goes on, and all counts add up."""
    rig = Rig(PARTITIONS)
    async with (
        Receiver(rule=lambda _: Answer(404)) as receiver,
        processes(rig, receiver.url, 2) as (one, other),
    ):
        await published(rig, 0, 20)
        await rig.until(lambda t: t.dead == 20)
        receiver.rule = lambda _: Answer()
        operator = rig.log.reopen()
        done = await dlq.retry(operator, Books.of(operator, NAME), rig.clock)
        assert done.count == 20
        await published(rig, 20, 20)
        totals = await rig.until(lambda t: t.delivered == 40, advance_s=0.1)
        assert one.held | other.held == ALL
    assert (totals.read, totals.dead, totals.retrying) == (40, 0, 0)
    assert await letters_of(rig.log, NAME) == []


async def test_of_two_operators_on_two_hosts_each_letter_listens_to_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both read which letters are open; the second one to claim goes on, the first is told so. Nothing is settled twice."""
    rig = Rig(PARTITIONS)
    async with Receiver(rule=lambda _: Answer(404)) as receiver, processes(rig, receiver.url, 1):
        await published(rig, 0, 8)
        await rig.until(lambda t: t.dead == 8)
    first, second = rig.log.reopen(), rig.log.reopen()
    read = first.read

    async def read_and_be_overtaken(tp: TopicPartition, offset: int, **more: int) -> Batch:
        batch = await read(tp, offset, **more)
        if tp == dead_topic(NAME):
            monkeypatch.undo()
            await dlq.discard(second, Books.of(second, NAME), rig.clock)
        return batch

    monkeypatch.setattr(first, "read", read_and_be_overtaken)
    wanted = workspace("http://localhost:1/")
    with pytest.raises(control.Refused, match="somebody else decides about the dead letters of 'hook'"):
        await control.settle(first, wanted, rig.clock, "retry", NAME, None)
    totals = await rig.totals()
    assert (totals.dead, totals.discarded, totals.retrying) == (0, 8, 0)


async def test_a_claim_reads_the_row_only_after_its_fence() -> None:
    """The owner of before writes until the very moment of the claim; what it wrote is in the row of the next."""
    log, tp = MemoryLog(PARTITIONS), TopicPartition(PROCESSED, 1)
    one = Totals(destination=NAME, read=1, delivered=1)
    books = Books.of(log, NAME)
    pages = await books.open({tp: await log.claim(GROUP, tp)})
    for offset in (1, 2):
        await pages[tp].commit(Position(offset), [], one)
    owner = await log.claim(GROUP, tp)
    with pytest.raises(Fenced):
        await pages[tp].commit(Position(3), [], one)
    assert (await books.open({tp: owner}))[tp].totals.read == 2
    rows = (await log.read(TopicPartition(DESTINATION_TOTALS, 0), 0)).records
    assert {record.key for record in rows} == {key_of(NAME, tp)}
