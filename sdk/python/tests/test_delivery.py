"""Delivery over real sockets: connections that are kept, closed, reset and silent, from each kind of client."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from typing import Any

import pytest
from sdk.python.tests.loopback import Answer, Handler, Loopback, serving

from headwater_sdk import AsyncClient, Client, DeliveryError, FlushReport
from headwater_sdk._ahttp import AsyncTransport
from headwater_sdk._http import HttpTransport


def by_thread(server: Loopback, names: list[str], flush: float = 20, **options: Any) -> FlushReport:
    """Send events one request each from the background thread."""
    client = Client("wk", server.url, upload_size=1, **options)
    try:
        for name in names:
            client.track("u1", name)
        return client.flush(flush)
    finally:
        client.shutdown(0)


def by_call(server: Loopback, names: list[str], flush: float = 20, **options: Any) -> FlushReport:
    """Send each event within its call."""
    client = Client("wk", server.url, sync_mode=True, **options)
    try:
        for name in names:
            client.track("u1", name)
        return client.flush(flush)
    finally:
        client.shutdown(0)


def by_task(server: Loopback, names: list[str], flush: float = 20, **options: Any) -> FlushReport:
    """Send events one request each from asyncio."""

    async def program() -> FlushReport:
        client = AsyncClient("wk", server.url, upload_size=1, **options)
        try:
            for name in names:
                client.track("u1", name)
            return await client.flush(flush)
        finally:
            await client.close(0)

    return asyncio.run(program())


SENDERS = pytest.mark.parametrize("send", [by_thread, by_call, by_task])


@SENDERS
def test_one_connection_carries_all_requests(send: Any) -> None:
    """Requests follow each other on a kept connection."""
    with serving() as server:
        report = send(server, ["A", "B", "C"])
    assert (report.delivered, report.ok) == (3, True)
    assert server.events == ["A", "B", "C"]
    assert len(server.connections) == 1


@SENDERS
def test_a_kept_connection_that_the_server_closed_is_replaced_at_once(send: Any) -> None:
    """No retry, no wait: the request simply goes out on a new connection."""
    with serving("close", "close") as server:
        report = send(server, ["A", "B", "C"])
    assert report.delivered == 3
    assert server.events == ["A", "B", "C"]
    assert len(server.connections) == 3
    assert [headers.get("X-Retry-Count") for headers, _ in server.requests] == [None] * 3


UNASKED = pytest.mark.parametrize("unasked", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b""])


def later(stray: threading.Event, unasked: bytes) -> Answer:
    """Answer 200, and say more (or hang up) when nobody asks any more."""

    def answer(handler: Handler) -> None:
        handler.answer(200)
        assert stray.wait(20)
        handler.wfile.write(unasked)
        handler.close_connection = not unasked

    return answer


@UNASKED
def test_what_came_unasked_on_a_kept_connection_is_not_taken_for_an_answer(unasked: bytes) -> None:
    """A proxy's late 400, or a close: the next request goes out on a new connection, and once."""
    stray = threading.Event()
    with serving(later(stray, unasked)) as server:
        transport = HttpTransport(Client("wk", server.url).settings.target)
        assert transport.send(b'{"batch":[]}', 0).status == 200
        assert transport._connection is not None
        stray.set()
        assert select.select([transport._connection.sock], [], [], 20)[0]
        assert transport.send(b'{"batch":[]}', 0).status == 200
        transport.close()
    assert (len(server.requests), len(server.connections)) == (2, 2)


@UNASKED
@pytest.mark.parametrize("seen", [True, False], ids=["read by the loop", "not yet read"])
def test_nor_is_it_by_the_transport_of_asyncio(unasked: bytes, seen: bool) -> None:
    """Whether the loop has taken it from the socket already or not."""
    stray = threading.Event()

    async def program(url: str) -> None:
        transport = AsyncTransport(Client("wk", url).settings.target)
        assert (await transport.send(b'{"batch":[]}', 0)).status == 200
        reader, writer = transport._reader, transport._writer
        assert reader is not None
        assert writer is not None
        stray.set()
        assert select.select([writer.get_extra_info("socket")], [], [], 20)[0]
        while seen and not (reader._buffer or reader.at_eof()):  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)
        assert (await transport.send(b'{"batch":[]}', 0)).status == 200
        await transport.aclose()

    with serving(later(stray, unasked)) as server:
        asyncio.run(program(server.url))
    assert (len(server.requests), len(server.connections)) == (2, 2)


@SENDERS
@pytest.mark.parametrize("trouble", [503, "reset", 307])
def test_a_failed_attempt_is_repeated_with_the_same_message_id(send: Any, trouble: Answer) -> None:
    """The server sees the same event again, marked with X-Retry-Count where it saw the first attempt."""
    with serving(200, trouble) as server:  # the first one so that a connection is kept
        report = send(server, ["A", "B"])
    assert (report.delivered, report.ok) == (2, True)
    assert len(set(server.ids)) == 2
    assert server.events == ["A", "B", "B"]


@SENDERS
def test_a_silent_server_is_given_up_after_the_timeout_and_asked_again(send: Any) -> None:
    """The timeout bounds the request, and nothing is lost."""
    with serving("silent") as server:
        report = send(server, ["A"], timeout=0.3)
        if send is by_call:
            assert server.events[0] == "A"
        else:
            assert server.events == ["A", "A"]
    assert report.delivered == 1


@SENDERS
@pytest.mark.parametrize("how", ["chunked", "until close", "continue first"])
def test_answers_of_every_framing_are_read(send: Any, how: str) -> None:
    """Content-Length, chunks, a body until the connection closes, and a 100 in front: the rejection in it is found."""
    body = b'{"success":true,"rejected":[{"index":0,"code":"event_too_long"}]}'

    def answer(handler: Handler) -> None:
        head = b"HTTP/1.1 200 OK\r\n"
        if how == "chunked":
            chunks = b"%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\nTrailer: 1\r\n\r\n" % (
                10,
                body[:10],
                len(body) - 10,
                body[10:],
            )
            handler.wfile.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        elif how == "until close":
            handler.wfile.write(head + b"\r\n" + body)
            handler.close_connection = True
        else:
            handler.wfile.write(
                b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body
            )

    with serving(answer) as server:
        report = send(server, ["A", "B"])
    assert [item.code for item in report.rejected] == ["event_too_long"]
    assert report.delivered == 1
    assert server.events == ["A", "B"]


@SENDERS
def test_an_answer_that_is_not_http_or_never_ends_costs_one_attempt(send: Any) -> None:
    """Nonsense is no answer: the batch goes again."""

    def nonsense(handler: Handler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        handler.close_connection = True

    def endless(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not handler.server.released.wait(0.05):
            handler.wfile.write(b" ")

    with serving(nonsense, endless) as server:
        report = send(server, ["A"], timeout=0.5)
        if send is by_call:  # its whole call is bounded by the timeout; flush goes on
            assert report.ok
        assert report.delivered == 1
        assert server.events == ["A", "A", "A"]


@SENDERS
@pytest.mark.parametrize(
    "part", [b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"]
)
def test_an_answer_that_breaks_off_within_its_headers_is_none(send: Any, part: bytes) -> None:
    """What is missing may have said that the events were not taken: they go again, with the same ids."""

    def broken(handler: Handler) -> None:
        handler.wfile.write(part)
        handler.close_connection = True

    with serving(broken) as server:
        report = send(server, ["A"])
    assert (report.delivered, report.ok) == (1, True)
    assert server.events == ["A", "A"]
    assert len(set(server.ids)) == 1


@SENDERS
def test_gzip_compresses_the_body(send: Any) -> None:
    """What the server unpacks is the batch."""
    with serving() as server:
        assert send(server, ["A"], gzip=True).ok
    assert server.requests[0][0]["Content-Encoding"] == "gzip"
    assert server.events == ["A"]


@SENDERS
def test_a_proxy_is_given_the_whole_url(send: Any) -> None:
    """Plain HTTP through a proxy, with its login."""
    lines = []

    def answer(handler: Handler) -> None:
        lines.append((handler.path, handler.headers["Proxy-Authorization"]))
        handler.answer(200)

    with serving(answer) as proxy:
        address = proxy.url.replace("http://", "http://me:pass%20word@")
        target = type("Target", (), {"url": "http://collector.invalid/in"})
        assert send(target, ["A"], proxies={"http": address}).ok
    assert lines == [("http://collector.invalid/in/v1/batch", "Basic bWU6cGFzcyB3b3Jk")]


@SENDERS
def test_the_environment_names_the_proxy(send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """http_proxy and no_proxy hold, as everywhere."""
    with serving() as proxy, serving() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert send(server, ["A"]).ok
        monkeypatch.setenv("no_proxy", "")
        assert send(server, ["B"]).ok
    assert (server.events, proxy.events) == (["A"], ["B"])


@SENDERS
def test_a_host_that_refuses_connections_is_no_error_of_the_app(send: Any) -> None:
    """Nothing is raised; what waits is reported when the client closes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        target = type("Target", (), {"url": f"http://127.0.0.1:{taken.getsockname()[1]}"})
        heard: list[Any] = []
        client_options = {
            "timeout": 0.2,
            "on_error": lambda error, events: heard.append((error.code, len(events))),
        }
        if send is by_task:

            async def program() -> FlushReport:
                client = AsyncClient("wk", target.url, **client_options)  # type: ignore[attr-defined,arg-type]
                client.track("u1", "A")
                assert (await client.flush(0.3)).queued == 1
                return await client.close(0)

            report = asyncio.run(program())
        else:
            client = Client("wk", target.url, sync_mode=send is by_call, **client_options)  # type: ignore[attr-defined,arg-type]
            client.track("u1", "A")
            assert client.flush(0.3).queued == 1
            report = client.shutdown(0)
    assert [item.reason for item in report.dropped] == ["closed"]
    assert heard == [("closed", 1)]


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


@SENDERS
def test_a_host_that_never_takes_events_is_named_in_the_log_once(
    send: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong scheme or path would otherwise show only when the queue is full."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    with serving(*[301] * 8) as server:
        report = send(server, ["A"])
    assert report.delivered == 1
    assert caplog.messages == [f"1 events wait: {server.url} gives no 2xx but HTTP 301; it is tried again"]


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
