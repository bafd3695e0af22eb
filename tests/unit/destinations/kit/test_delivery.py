"""Delivery against a receiver that fails in every way: nothing lost, every event accounted for."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from prometheus_client import REGISTRY

from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.topics import PROCESSED, RETRY_PREFIX
from tests.support.delivering import NAME, Rig, event, letters_of, publish, workspace
from tests.support.receiver import Answer, Got, Receiver


def _ids(count: int) -> list[str]:
    return [f"m{number}" for number in range(count)]


async def test_every_event_is_delivered_once_and_in_order() -> None:
    """A healthy receiver gets each event once; with one request at a time, in the log's order."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(250)], per_record=40)
    async with Receiver() as receiver:
        async with rig.running(workspace(receiver.url, delivery={"concurrency": 1})):
            totals = await rig.until(lambda t: t.delivered == 250)
        assert receiver.ids == _ids(250)
        assert max(len(got.events) for got in receiver.got) <= 100
    assert totals.read == 250


async def test_a_batch_may_end_inside_a_record_and_a_restart_goes_on_behind_it() -> None:
    """A record larger than a batch is delivered in parts; stopping between two parts repeats nothing."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(95)], per_record=95)
    async with Receiver() as receiver:
        receiver.rule = lambda _: Answer() if len(receiver.got) <= 3 else Answer(401)
        wanted = workspace(
            receiver.url, delivery={"batch": {"max_events": 10, "max_wait_s": 0}, "concurrency": 1}
        )
        async with rig.running(wanted):
            await rig.until(lambda t: t.delivered == 30)
            await receiver.requests(4)
        refused = receiver.got[3].ids
        receiver.rule = lambda _: Answer()
        async with rig.running(wanted):
            await rig.until(lambda t: t.delivered == 95)
    assert receiver.ids == [*_ids(30), *refused, *_ids(95)[30:]]


async def test_what_retention_removed_unread_is_loud_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A destination whose position is behind the log's beginning goes on with what is left."""
    rig, tp = Rig(), TopicPartition(PROCESSED, 0)
    await publish(rig.log, [event(n) for n in range(4)], per_record=1)
    await rig.log.store(f"destination.{NAME}", {tp: Position(0)})
    rig.log.trim(tp, 3)
    before = _lost()
    async with Receiver() as receiver:
        async with rig.running(workspace(receiver.url)):
            await rig.until(lambda t: t.delivered == 1)
        assert receiver.ids == ["m3"]
    assert "retention has removed everything before 3" in caplog.text
    assert _lost() - before == 3


async def test_a_log_shorter_than_what_was_read_of_it_is_loud_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An older copy of the log was put in its place: what comes from now on is delivered."""
    rig, tp = Rig(), TopicPartition(PROCESSED, 0)
    await publish(rig.log, [event(0)])
    await rig.log.store(f"destination.{NAME}", {tp: Position(100)})
    async with Receiver() as receiver:
        async with rig.running(workspace(receiver.url)):
            async with asyncio.timeout(10):
                while "replaced by an older copy" not in caplog.text:
                    await rig.log.wait(["never"], 0.005)
            await publish(rig.log, [event(1)])
            await rig.until(lambda t: t.delivered == 1)
        assert receiver.ids == ["m1"]


async def test_a_clock_that_was_wrong_for_a_while_delays_no_retry() -> None:
    """A retry written while the clock was a year ahead neither waits a year nor keeps later ones from their turn."""
    rig = Rig()
    await publish(rig.log, [event(0)])
    async with Receiver(Answer(503)) as receiver:
        rig.clock.advance(365 * 86_400)
        async with rig.running(workspace(receiver.url)):
            await rig.until(lambda t: t.retrying == 1)
        rig.clock.advance(-365 * 86_400)
        async with rig.running(workspace(receiver.url)):
            await rig.until(lambda t: t.delivered == 1, advance_s=0.1)
    assert receiver.ids == ["m0", "m0"]


def _lost() -> float:
    labels = {"topic": PROCESSED, "partition": "0"}
    return REGISTRY.get_sample_value("headwater_lost_records_total", labels) or 0.0


async def test_events_for_others_are_counted_by_reason() -> None:
    """What is not meant for the destination is read, counted with its reason, and never sent."""
    rig = Rig()
    events = [
        event(0),
        event(1, sourceId="api"),
        event(2, integrations={"All": False}),
        event(3, event="Other"),
        event(4, context={"consent": {"categoryPreferences": {"marketing": False}}}),
    ]
    await publish(rig.log, events)
    async with Receiver() as receiver:
        wanted = workspace(receiver.url, filter='event != "Other"', delivery={"consent": ["marketing"]})
        wanted = type(wanted).model_validate(
            {**wanted.model_dump(by_alias=True), "connections": [{"from": ["web"], "to": [NAME]}]}
        )
        async with rig.running(wanted):
            totals = await rig.until(lambda t: t.read == 5)
        assert receiver.ids == ["m0"]
    assert totals.filtered == {
        "SOURCE_NOT_CONNECTED": 1,
        "FILTERED_BY_INTEGRATIONS_OBJECT": 1,
        "FILTERED_BY_RULES": 1,
        "FILTERED_BY_END_USER_CONSENT": 1,
    }


@pytest.mark.parametrize(
    "failure",
    [Answer(500), Answer(reset=True), Answer(silent=True), Answer(429), Answer(408)],
    ids=["500", "reset", "silent", "429", "408"],
)
async def test_a_failed_batch_is_scheduled_in_the_log_and_delivered_later(failure: Answer) -> None:
    """Errors, resets and silence put the events into the retry topic; when due they are delivered."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(5)])
    async with (
        Receiver(failure) as receiver,
        rig.running(workspace(receiver.url, delivery={"timeout_s": 0.2})),
    ):
        waiting = await rig.until(lambda t: t.retrying == 5)
        assert (waiting.read, waiting.delivered) == (5, 0)
        await rig.until(lambda t: t.delivered == 5, advance_s=0.5)
    assert receiver.ids == _ids(5) * 2


async def test_retry_after_is_waited_for_and_slows_the_whole_destination() -> None:
    """A 429 with Retry-After: nothing is sent before the time asked for, then everything."""
    rig = Rig()
    await publish(rig.log, [event(0)])
    async with (
        Receiver(Answer(429, headers={"retry-after": "120"})) as receiver,
        rig.running(workspace(receiver.url)),
    ):
        await rig.until(lambda t: t.retrying == 1)
        began = rig.clock.now_ms()
        await publish(rig.log, [event(1)])
        rig.clock.advance(119)
        for _ in range(20):
            await rig.log.wait(["never"], 0.005)
        assert receiver.ids == ["m0"]
        await rig.until(lambda t: t.delivered == 2, advance_s=1)
        assert rig.clock.now_ms() - began >= 120_000
    assert sorted(receiver.ids) == ["m0", "m0", "m1"]


async def test_a_distant_retry_does_not_block_one_that_is_due() -> None:
    """One event must wait half an hour; others that come after it are retried meanwhile."""
    rig = Rig()
    far = Answer(207, b'{"results":[{"status":503}]}')
    await publish(rig.log, [event(0)])
    async with Receiver(far) as receiver:
        wanted = workspace(receiver.url, delivery={"retry": {"base_s": 7000}})
        async with rig.running(wanted, draw=lambda: 0.5):
            await rig.until(lambda t: t.retrying == 1)
        receiver.script.append(far)
        await publish(rig.log, [event(1)])
        began = rig.clock.now_ms()
        async with rig.running(workspace(receiver.url), draw=lambda: 0.5):
            await rig.until(lambda t: t.retrying == 2)
            await rig.until(lambda t: t.delivered == 1, advance_s=0.5)
            assert rig.clock.now_ms() - began < 60_000
            assert receiver.ids == ["m0", "m1", "m1"]
            await rig.until(lambda t: t.delivered == 2, advance_s=30)
            assert rig.clock.now_ms() - began >= 1_790_000


async def test_per_event_answers_settle_each_event_by_itself() -> None:
    """A 207 body refuses one event, postpones another and takes the rest."""
    rig = Rig()
    body = b'{"results":[{"status":200},{"status":422,"error":"no plan"},{"status":503},{"status":201}]}'
    await publish(rig.log, [event(n) for n in range(4)])
    async with Receiver(Answer(207, body)) as receiver, rig.running(workspace(receiver.url)):
        totals = await rig.until(lambda t: t.read == 4)
    assert (totals.delivered, totals.dead, totals.retrying) == (2, 1, 1)
    (letter,) = await letters_of(rig.log, NAME)
    assert (letter.dead.code, letter.dead.detail) == ("HTTP_422", "no plan")


async def test_one_bad_event_of_a_batch_is_found_and_its_neighbours_are_delivered() -> None:
    """A receiver that refuses whole batches with 400 loses only the event it cannot take."""
    rig = Rig()

    def rule(got: Got) -> Answer:
        return Answer(400, b"bad number 13") if "m13" in got.ids else Answer()

    await publish(rig.log, [event(n) for n in range(40)])
    async with Receiver(rule=rule) as receiver, rig.running(workspace(receiver.url)):
        totals = await rig.until(lambda t: t.read == 40)
    assert (totals.delivered, totals.dead) == (39, 1)
    (letter,) = await letters_of(rig.log, NAME)
    assert b'"m13"' in bytes(letter.dead.event)
    assert letter.dead.response is not None
    assert letter.dead.response["body"] == "bad number 13"


async def test_redirects_are_refused() -> None:
    """A 302 is not followed: the events are dead letters that say so."""
    rig = Rig()
    await publish(rig.log, [event(0)])
    async with Receiver() as other, Receiver(Answer(302, headers={"location": other.url})) as receiver:
        async with rig.running(workspace(receiver.url)):
            await rig.until(lambda t: t.dead == 1)
        assert other.got == []
    (letter,) = await letters_of(rig.log, NAME)
    assert letter.dead.code == "HTTP_302"


async def test_an_event_too_old_to_retry_becomes_a_dead_letter() -> None:
    """After max_age_s the event is given up, with the count of attempts and the last reason."""
    rig = Rig()
    await publish(rig.log, [event(0)])
    async with Receiver(rule=lambda _: Answer(500, b"down")) as receiver:
        wanted = workspace(receiver.url, delivery={"retry": {"max_age_s": 60}, "breaker": {"failures": 1000}})
        async with rig.running(wanted):
            await rig.until(lambda t: t.dead == 1, advance_s=1)
    (letter,) = await letters_of(rig.log, NAME)
    assert letter.dead.code == "RETRIES_EXHAUSTED"
    assert letter.dead.attempts == len(receiver.got) > 1
    assert "HTTP 500" in letter.dead.detail


async def test_refused_credentials_pause_the_destination_and_cost_no_event() -> None:
    """A 401 pauses: nothing more is sent, the backlog waits, status says why; a passing probe resumes."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(300)])
    async with Receiver(rule=lambda _: Answer(401, b"who are you")) as receiver:
        wanted = workspace(receiver.url, delivery={"concurrency": 1, "breaker": {"pause_s": 60}})
        async with rig.running(wanted) as delivery:
            await receiver.requests(1)
            while delivery.status()["state"] != "paused":
                await rig.log.wait(["never"], 0.005)
            assert "who are you" in delivery.status()["reason"]
            assert (await rig.totals()).read == 0
            rig.clock.advance(61)
            await receiver.requests(2)
            receiver.rule = lambda _: Answer()
            totals = await rig.until(lambda t: t.delivered == 300, advance_s=30)
            assert delivery.status() == {"destination": NAME, "state": "running"}
    assert totals.dead == totals.retrying == 0
    lag = await rig.log.lag(f"destination.{NAME}", [PROCESSED])
    assert sum(each.events for each in lag) == 0


async def test_an_open_circuit_spends_no_attempts() -> None:
    """After failures in a row nothing but probes is sent; the backlog stays in the log, not in the retries."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(500)], per_record=10)
    down = True
    async with Receiver(rule=lambda _: Answer(503) if down else Answer()) as receiver:
        rules = {
            "concurrency": 1,
            "batch": {"max_events": 10, "max_wait_s": 0},
            "breaker": {"failures": 3, "probe_s": 20},
        }
        async with rig.running(workspace(receiver.url, delivery=rules)) as delivery:
            while delivery.status()["state"] != "open":
                await rig.log.wait(["never"], 0.005)
            await rig.until(lambda t: t.retrying == 30)
            assert len(receiver.got) == 3
            rig.clock.advance(21)
            await receiver.requests(4)
            down = False
            totals = await rig.until(lambda t: t.delivered == 500, advance_s=5)
    assert totals.read == 500
    assert set(receiver.ids) == set(_ids(500))


async def test_requests_keep_to_the_rate() -> None:
    """Ten requests at two a second take four seconds of the clock after the first two."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(10)])
    began = rig.clock.now_ms()
    async with Receiver() as receiver:
        wanted = workspace(receiver.url, batch=False, delivery={"rate": {"requests": 2}})
        async with rig.running(wanted):
            await rig.until(lambda t: t.delivered == 10, advance_s=0.05)
    assert rig.clock.now_ms() - began >= 4_000


async def test_batches_are_sent_side_by_side_and_committed_in_order() -> None:
    """While the first batch hangs, later ones are sent, but the position does not pass the first."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(30)], per_record=10)
    gate = asyncio.Event()
    async with Receiver(
        rule=lambda got: Answer(silent=True) if "m0" in got.ids and not gate.is_set() else Answer()
    ) as receiver:
        wanted = workspace(
            receiver.url, delivery={"batch": {"max_events": 10, "max_wait_s": 0}, "timeout_s": 1.0}
        )
        async with rig.running(wanted):
            await receiver.requests(3)
            assert await rig.log.committed(f"destination.{NAME}", TopicPartition(PROCESSED, 0)) is None
            totals = await rig.until(lambda t: t.read == 30)
            assert (totals.delivered, totals.retrying) == (20, 10)
            gate.set()
            await rig.until(lambda t: t.delivered == 30, advance_s=0.5)


async def test_lines_that_are_no_event_go_to_the_dead_letters() -> None:
    """A broken line is kept and counted; its neighbours are delivered."""
    rig = Rig()
    good = orjson.dumps(event(1))
    await rig.log.append([Entry(PROCESSED, 0, Record(b"{broken\n" + good, events=2))])
    async with Receiver() as receiver, rig.running(workspace(receiver.url)):
        totals = await rig.until(lambda t: t.read == 2)
    assert (totals.delivered, totals.dead) == (1, 1)
    (letter,) = await letters_of(rig.log, NAME)
    assert bytes(letter.dead.event) == b'"{broken"'


async def test_what_is_waiting_survives_a_restart() -> None:
    """Retries are in the log: a new process delivers what an old one scheduled."""
    rig = Rig()
    await publish(rig.log, [event(n) for n in range(3)])
    async with Receiver(Answer(500)) as receiver:
        async with rig.running(workspace(receiver.url)):
            await rig.until(lambda t: t.retrying == 3)
        retries = [await rig.log.bounds(TopicPartition(RETRY_PREFIX + NAME, n)) for n in range(6)]
        assert sum(bounds.end > bounds.begin for bounds in retries) == 1
        rig.log = rig.log.reopen()
        async with rig.running(workspace(receiver.url)):
            totals = await rig.until(lambda t: t.delivered == 3, advance_s=1)
    assert totals.read == 3


async def test_a_private_address_pauses_unless_it_is_allowed() -> None:
    """Without allow_private a loopback receiver hears nothing; the reason names the option."""
    rig = Rig()
    await publish(rig.log, [event(0)])
    async with Receiver() as receiver:
        async with rig.running(workspace(receiver.url, allow_private=False)) as delivery:
            while delivery.status()["state"] != "paused":
                await rig.log.wait(["never"], 0.005)
            assert "allow_private" in delivery.status()["reason"]
        assert receiver.got == []
        async with rig.running(workspace(receiver.url)):
            await rig.until(lambda t: t.delivered == 1)
