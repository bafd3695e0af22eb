"""What operators see and do: dead letters, journeys, the control socket."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from destinations.kit import control, dlq
from destinations.kit.books import Books, all_totals
from destinations.kit.inspect import deliveries_of
from destinations.kit.letters import dead_topic
from destinations.kit.records import Totals
from headwater.clock import SystemClock
from headwater.log.open import open_log
from headwater.log.protocol import Batch, Entry, Position, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.log.topics import PROCESSED
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import SqliteLogSettings
from tests.support.delivering import NAME, Rig, event, letters_of, publish, workspace
from tests.support.receiver import Answer, Receiver


async def _three_dead(rig: Rig, url: str) -> None:
    await publish(rig.log, [event(n) for n in range(3)])
    async with rig.running(workspace(url, batch=False)):
        await rig.until(lambda t: t.dead == 3)


async def test_dead_letters_are_retried_and_discarded_once() -> None:
    """Retrying moves a letter back to the queue, discarding counts it; neither can be done twice."""
    rig = Rig()
    async with Receiver(rule=lambda _: Answer(404, b"nobody")) as receiver:
        await _three_dead(rig, receiver.url)
        first, second, third = await letters_of(rig.log, NAME)
        books = Books.of(rig.log, NAME)
        assert (await dlq.discard(rig.log, books, rig.clock, [second.id])).done == [second.id]
        again = await dlq.discard(rig.log, books, rig.clock, [second.id, 999])
        assert (again.done, again.unknown) == ([], [second.id, 999])
        assert [letter.id for letter in await letters_of(rig.log, NAME)] == [first.id, third.id]
        await dlq.retry(rig.log, books, rig.clock)
        totals = await rig.totals()
        assert (totals.dead, totals.retrying, totals.discarded) == (0, 2, 1)
        receiver.rule = lambda _: Answer()
        async with rig.running(workspace(receiver.url)):
            totals = await rig.until(lambda t: t.delivered == 2, advance_s=0.1)
    assert totals.balances()
    assert await letters_of(rig.log, NAME) == []


async def test_dead_letters_can_be_retried_while_the_delivery_runs() -> None:
    """The running delivery and the operator count in the same books."""
    rig = Rig()
    async with Receiver(Answer(404)) as receiver:
        await publish(rig.log, [event(0)])
        async with rig.running(workspace(receiver.url)):
            await rig.until(lambda t: t.dead == 1)
            await dlq.retry(rig.log, Books.of(rig.log, NAME), rig.clock)
            await publish(rig.log, [event(1)])
            totals = await rig.until(lambda t: t.delivered == 2, advance_s=0.1)
    assert (totals.read, totals.dead, totals.retrying) == (2, 0, 0)


async def test_a_dead_letter_shows_request_and_response_without_secrets() -> None:
    """Headers, body and answer are kept; the secret occurs nowhere, whole or in base64."""
    rig, secret = Rig(), "tok-5ecret/1"
    await publish(rig.log, [event(0, properties={"echo": secret})])
    async with Receiver(rule=lambda got: Answer(404, got.headers["x-key"].encode())) as receiver:
        wanted = workspace(receiver.url + "?t=abc", headers={"x-key": secret, "authorization": "Bearer q"})
        async with rig.running(wanted):
            await rig.until(lambda t: t.dead == 1)
    (letter,) = await letters_of(rig.log, NAME)
    request, response = letter.dead.request, letter.dead.response
    assert request is not None
    assert response is not None
    assert secret not in str((request, response))
    assert request["headers"]["x-key"] == request["headers"]["authorization"] == "[redacted]"
    assert request["url"].endswith("/in?[redacted]")
    assert (response["status"], response["body"]) == (404, "[redacted]")


async def test_no_secret_reaches_logs_or_status(caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that echoes the credentials in its refusal: the pause is logged and shown without them."""
    rig, secret = Rig(), "tok-5ecret/1"
    await publish(rig.log, [event(0)])
    async with Receiver(rule=lambda got: Answer(401, got.headers["x-key"].encode())) as receiver:
        wanted = workspace(receiver.url, headers={"x-key": secret})
        async with rig.running(wanted) as delivery:
            while delivery.status()["state"] != "paused":
                await rig.log.wait(["never"], 0.005)
            assert delivery.status()["reason"] == "credentials: HTTP 401: [redacted]"
    assert "is paused" in caplog.text
    assert secret not in caplog.text


async def test_a_journey_tells_every_state_with_attempts_and_answers() -> None:
    """Delivered, filtered, retried, dead, discarded and waiting events are told apart by messageId."""
    rig = Rig()
    answers = b'{"results":[{"status":200},{"status":503},{"status":422,"error":"no"},{"status":404}]}'
    events = [event(0), event(1, type="track", event="Skip"), event(2), event(3), event(4)]
    await publish(rig.log, events, per_record=2)
    async with Receiver(Answer(207, answers)) as receiver:
        wanted = workspace(receiver.url, filter='event != "Skip"')
        async with rig.running(wanted):
            await rig.until(lambda t: t.read == 5)
            found = {n: (await deliveries_of(rig.log, f"m{n}", [NAME]))[0] for n in range(5)}
            assert {n: journey.state for n, journey in found.items()} == {
                0: "delivered", 1: "filtered", 2: "retrying", 3: "dead", 4: "dead",
            }  # fmt: skip
            assert found[1].reason == "FILTERED_BY_RULES"
            assert (found[0].attempts[0].status, found[0].attempts[0].response) == (207, answers.decode())
            assert found[2].attempts[0].due_ms > rig.clock.now_ms() - 1
            await rig.until(lambda t: t.delivered == 2, advance_s=0.5)
    (retried,) = await deliveries_of(rig.log, "m2", [NAME])
    assert [(a.number, a.state) for a in retried.attempts] == [(1, "retrying"), (2, "delivered")]
    letter = next(each for each in await letters_of(rig.log, NAME) if b'"m4"' in bytes(each.dead.event))
    await dlq.discard(rig.log, Books.of(rig.log, NAME), rig.clock, [letter.id])
    assert (await deliveries_of(rig.log, "m4", [NAME]))[0].state == "discarded"
    await publish(rig.log, [event(9)])
    assert [j.state for j in await deliveries_of(rig.log, "m9", [NAME, "other"])] == ["waiting", "waiting"]


@pytest.mark.parametrize(
    "folder", ["short", "long" * 30], ids=["short path", "path beyond the kernel's limit"]
)
async def test_the_control_socket_answers_status_and_settles_letters(tmp_path: Path, folder: str) -> None:
    """Another process asks through the socket; a refusal carries its reason; without a process it is said so."""
    rig, data = Rig(), DataDir(tmp_path / folder)
    data.make()
    async with Receiver(rule=lambda _: Answer(404)) as receiver:
        wanted = workspace(receiver.url)
        await _three_dead(rig, receiver.url)
        live = LiveWorkspace(wanted)

        def told() -> list[dict[str, Any]]:
            return [{"destination": NAME, "state": "running"}]

        async with control.serve_control(data, rig.log, live, rig.clock, told):
            assert await control.status(data) == told()
            assert (data.run / control.SOCKET).stat().st_mode & 0o077 == 0
            done = await control.settle_letters(data, wanted, rig.clock, "discard", NAME, None)
            assert done["count"] == 3
            with pytest.raises(control.Refused, match="unknown action"):
                await control.settle_letters(data, wanted, rig.clock, "burn", NAME, None)
            with pytest.raises(control.Refused, match="not understood"):
                await control.call(data, {"do": "retry"})
    with pytest.raises(control.ControlUnavailable, match="no destinations process"):
        await control.status(data)
    assert (await rig.totals()).discarded == 3


async def test_letters_are_settled_without_a_running_process(tmp_path: Path) -> None:
    """With no process, the log is opened, the letters are settled, and the next process sees it."""
    data = DataDir(tmp_path).make()
    async with Receiver(rule=lambda _: Answer(404)) as receiver:
        wanted = workspace(receiver.url)
        rig = Rig()
        async with open_log(wanted.log, data, "processor") as events:
            await publish(events, [event(n) for n in range(4)])
            async with open_log(wanted.log, data, "destinations") as log:
                rig.log, rig.clock = log, SystemClock()  # type: ignore[assignment]
                async with rig.running(wanted):
                    await _until_dead(rig, 4)
            done = await control.settle_letters(data, wanted, SystemClock(), "retry", NAME, None)
            assert done["count"] == 4
            receiver.rule = lambda _: Answer()
            async with open_log(wanted.log, data, "destinations") as log:
                rig.log = log  # type: ignore[assignment]
                async with rig.running(wanted):
                    async with asyncio.timeout(10):
                        while (await rig.totals()).delivered < 4:
                            await log.wait(["totals.destinations"], 0.05)
    assert sorted(receiver.ids) == sorted(["m0", "m1", "m2", "m3"] * (len(receiver.ids) // 4))


async def _until_dead(rig: Rig, count: int) -> None:
    async with asyncio.timeout(10):
        while (await rig.totals()).dead < count:
            await rig.log.wait(["totals.destinations"], 0.05)


async def test_two_operators_at_once_settle_each_letter_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ask for all letters in the same moment: each letter is sent again once, and the counts stay exact."""
    rig = Rig()
    async with Receiver(rule=lambda _: Answer(404)) as receiver:
        await _three_dead(rig, receiver.url)
    books, read = Books.of(rig.log, NAME), rig.log.read

    async def read_slowly(tp: TopicPartition, offset: int) -> Batch:
        batch = await read(tp, offset)
        await asyncio.sleep(0)  # as from a disk: the other one reads meanwhile
        return batch

    monkeypatch.setattr(rig.log, "read", read_slowly)
    acts = (dlq.retry(rig.log, books, rig.clock), dlq.discard(rig.log, books, rig.clock))
    done = [resolution.count for resolution in await asyncio.gather(*acts)]
    monkeypatch.undo()
    totals = await rig.totals()
    assert sorted(done) == [0, 3]
    assert (totals.dead, totals.retrying + totals.discarded) == (0, 3)


async def test_a_letter_that_comes_while_others_are_settled_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The delivery goes on beside the operator: what it gives up meanwhile is not passed over."""
    rig = Rig()
    async with Receiver(rule=lambda _: Answer(404)) as receiver:
        await _three_dead(rig, receiver.url)
    read = rig.log.read

    async def read_and_go_on(tp: TopicPartition, offset: int) -> Batch:
        batch = await read(tp, offset)
        if tp == dead_topic(NAME):
            monkeypatch.undo()
            await rig.log.append([Entry(*tp, batch.records[0])])
        return batch

    books = Books.of(rig.log, NAME)
    monkeypatch.setattr(rig.log, "read", read_and_go_on)
    resolution = await dlq.discard(rig.log, books, rig.clock)
    assert resolution.count == 3
    assert len(await letters_of(rig.log, NAME)) == 1


async def test_a_cancelled_commit_that_was_written_all_the_same_is_counted(tmp_path: Path) -> None:
    """A delivery is stopped while the disk is slow: what reaches the disk later is not forgotten by the next count."""
    data, tp, free = DataDir(tmp_path).make(), TopicPartition(PROCESSED, 0), threading.Event()
    begun = threading.Event()
    one = Totals(destination=NAME, read=1, delivered=1)
    async with open_log(SqliteLogSettings(), data, "destinations") as log:
        assert isinstance(log, SqliteLog)
        books, owner = Books.of(log, NAME), await log.claim(f"destination.{NAME}", tp)
        page = (await books.open({tp: owner}))[tp]
        committer = log._committer("destinations")

        def wait(_: object) -> None:
            begun.set()
            free.wait(10)

        slow = asyncio.create_task(committer.do(wait))
        await asyncio.to_thread(begun.wait, 5)
        first = asyncio.create_task(page.commit(Position(1), [], one))
        async with asyncio.timeout(5):
            while not committer._queue.jobs:
                await asyncio.sleep(0.001)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.create_task(page.commit(Position(2), [], one))
        await asyncio.sleep(0)
        free.set()
        await asyncio.gather(slow, second)
        assert (await all_totals(log))[NAME].read == 2
