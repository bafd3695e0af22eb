"""Delivery as the app sees it: what calls return and raise, what `on_error` hears, full queues, threads and loops."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from sdk.python.tests.loopback import Handler, serving

from headwater_sdk import AsyncClient, Client, DeliveryError, FlushReport


def test_a_synchronous_call_says_whether_the_event_was_delivered() -> None:
    """True is a 2xx without a rejection of it."""
    with serving(200, 400, 503) as server, Client("wk", server.url, sync_mode=True, timeout=0.05) as client:
        assert client.track("u1", "A")[0] is True
        assert client.track("u1", "B")[0] is False
        client._pipeline.core._random = lambda: 1.0
        assert client.track("u1", "C")[0] is False  # 503: the retry does not fit into the timeout
        assert client.queued == 1
        client.flush(20)
    assert server.events == ["A", "B", "C", "C"]


def test_strict_raises_what_is_otherwise_reported() -> None:
    """For development: a call that cannot work fails where it is made."""
    with serving(400) as server, Client("wk", server.url, sync_mode=True, strict=True) as client:
        with pytest.raises(ValueError, match="no_user_anon_id"):
            client.track(event="A")
        with pytest.raises(DeliveryError):
            client.track("u1", "A")


def test_strict_raises_for_an_event_that_is_too_large() -> None:
    """It cannot be sent, and the developer stands before it; without strict the report says so."""
    with pytest.raises(ValueError, match="event_too_large: 40,"):
        Client("wk", "http://127.0.0.1:9", strict=True).track("u1", "A", {"text": "x" * 40_000})


def test_synchronous_calls_of_several_threads_each_say_what_became_of_their_own_event() -> None:
    """One event is refused while another waits for its turn: only its caller hears False."""
    second_called = threading.Event()

    def refuse(handler: Handler) -> None:
        second_called.wait(20)
        handler.answer(400)

    said: dict[str, bool] = {}
    with (
        serving(refuse) as server,
        Client("wk", server.url, sync_mode=True, on_error=lambda *_: None) as client,
    ):

        def call(name: str) -> None:
            said[name] = client.track("u1", name)[0]

        first = threading.Thread(target=call, args=["refused"])
        first.start()
        server.wait_for(1)
        second = threading.Thread(target=call, args=["taken"])
        second.start()
        while client.queued < 2:
            time.sleep(0.001)
        second_called.set()
        first.join(20)
        second.join(20)
        assert client.queued == 0
    assert said == {"refused": False, "taken": True}


def test_on_error_hears_of_rejections_and_drops_with_their_events() -> None:
    """One call per reason, with the events as they were sent; what it raises does not stop delivery."""
    heard = []

    def on_error(error: Exception, events: list[dict[str, Any]]) -> None:
        assert isinstance(error, DeliveryError)
        heard.append((error.code, error.status, [event.get("event") for event in events]))
        raise RuntimeError("the app's own bug")

    with serving(400) as server, Client("wk", server.url, on_error=on_error) as client:
        client.track("u1", "A")
        client.track("u1", "B")
        client.flush(20)
        client.track(event="no id")
        client.flush(20)
        client.track("u1", "C")
        assert client.flush(20).delivered == 1
    assert heard == [("http_400", 400, ["A", "B"]), ("no_user_anon_id", 0, ["no id"])]


def test_news_for_on_error_do_not_hurry_what_waits_for_company() -> None:
    """A refused call wakes the thread; the event that waits for its interval is not sent for that."""
    heard = threading.Event()
    with serving() as server:
        client = Client("wk", server.url, upload_interval=60, on_error=lambda *_: heard.set())
        client.track("u1", "A")
        client.track(event="no id")
        assert heard.wait(20)
        client.track("u1", "B")
        client.shutdown(20)
    assert [len(body["batch"]) for _, body in server.requests] == [2]


def test_a_thread_that_dies_keeps_nobody_waiting_and_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of ours must not hang flush(), nor stop the events that follow."""
    ended = []
    monkeypatch.setattr(threading, "excepthook", lambda args: ended.append(args.exc_type))
    with serving() as server:
        client = Client("wk", server.url)
        body = client._pipeline.body
        client._pipeline.body = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        client.track("u1", "A")
        assert client.flush(20).queued == 1
        client._pipeline.body = body  # type: ignore[method-assign]
        assert client.shutdown(20).delivered == 1
    assert ended == [ZeroDivisionError]


def test_on_error_may_use_the_client() -> None:
    """It runs on the delivery thread: tracking and even flushing there must not lock up."""
    with serving(400) as server:

        def on_error(error: Exception, events: list[dict[str, Any]]) -> None:
            client.track("u1", "Delivery Failed")
            client.flush(20)

        client = Client("wk", server.url, on_error=on_error, overflow="block", max_queue_size=1)
        client.track("u1", "A")
        client.flush(20)
        assert client.flush(20).queued == 0
        client.shutdown(20)
    assert server.events == ["A", "Delivery Failed"]


def test_block_holds_the_caller_until_there_is_room() -> None:
    """With a queue of one, fifty events from two threads all arrive; nothing is dropped."""
    with serving() as server, Client("wk", server.url, overflow="block", max_queue_size=1) as client:
        threads = [
            threading.Thread(target=lambda: [client.track("u1", "A") for _ in range(25)]) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report = client.flush(20)
    assert (report.delivered, report.ok) == (50, True)


def test_block_gives_up_after_its_timeout() -> None:
    """The caller gets False, and the event is reported as dropped."""
    with serving("silent") as server:
        client = Client(
            "wk", server.url, overflow="block", max_queue_size=1, upload_size=1, block_timeout=0.05
        )
        client.track("u1", "A")
        server.wait_for(1)
        assert client.track("u1", "B")[0] is True
        assert client.track("u1", "C")[0] is False
        server.released.set()
        report = client.shutdown(20)
    assert [item.reason for item in report.dropped] == ["queue_full"]


def test_calls_cost_nothing_while_the_server_is_silent() -> None:
    """Ten thousand calls against a dead server return at once; the oldest events are dropped and counted."""
    with serving("silent") as server:
        client = Client("wk", server.url, upload_size=1, max_queue_size=100, on_error=lambda *_: None)
        client.track("u1", "first")
        server.wait_for(1)
        began = time.perf_counter()
        for _ in range(10_000):
            client.track("u1", "A")
        assert time.perf_counter() - began < 10
        report = client.shutdown(0)
        server.released.set()
    assert report.dropped_count == 10_001
    assert len(report.dropped) == 1_000


def test_the_thread_ends_when_there_is_nothing_to_do_and_a_call_starts_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An idle client costs no thread, and neither does one that nobody refers to any more."""
    monkeypatch.setattr("headwater_sdk._pipeline.IDLE_S", 0.01)
    with serving() as server:
        client = Client("wk", server.url, upload_size=1)
        for count in (1, 2):
            client.track("u1", "A")
            server.wait_for(count)
            thread = client._pipeline._thread
            if thread is not None:
                thread.join(20)
            assert client._pipeline._thread is None
        assert client.flush(1).delivered == 2


def test_events_of_many_threads_arrive_once_each() -> None:
    """Eight threads, 4,000 events, resets in between."""
    with serving(200, "reset", 200, 503, "close", "reset") as server, Client("wk", server.url) as client:
        threads = [
            threading.Thread(target=lambda n=n: [client.track("u1", f"{n}-{i}") for i in range(500)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(30).delivered == 4_000
    assert len(set(server.ids)) == 4_000
    assert len(set(server.events)) == 4_000


def test_an_async_client_sends_on_one_loop_although_two_threads_use_it() -> None:
    """Calls of another loop go with the first one's, and so does a flush there: it would send the same events again."""
    with serving("silent") as server:
        client = AsyncClient("wk", server.url, timeout=20, upload_interval=0)

        async def elsewhere() -> None:
            client.track("u2", "B")
            assert (await client.flush(0.1)).queued >= 1
            server.released.set()
            assert (await client.flush(20)).queued == 0

        async def program() -> FlushReport:
            client.track("u1", "A")
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, server.wait_for, 1)
            await loop.run_in_executor(None, asyncio.run, elsewhere())
            return await client.close()

        asyncio.run(program())
    assert sorted(set(server.events)) == ["A", "B"]
    assert server.events.count("B") == 1


def test_a_flush_beside_a_loop_that_stands_still_says_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    """The loop that sends was stopped in the middle and not closed: nothing is sent twice, raised or waited for."""
    with serving("silent") as server:
        client = AsyncClient("wk", server.url, timeout=20, upload_interval=0)
        first = asyncio.new_event_loop()

        async def begin() -> None:
            client.track("u1", "A")
            await asyncio.get_running_loop().run_in_executor(None, server.wait_for, 1)

        first.run_until_complete(begin())
        assert asyncio.run(client.flush(20)).queued == 1
        assert "does not run" in caplog.text
        server.released.set()
        report = first.run_until_complete(client.close())
        first.close()
    assert (report.delivered, len(set(server.ids))) == (1, 1)
