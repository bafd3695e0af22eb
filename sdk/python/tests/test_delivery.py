"""Delivery over real sockets: connections that are kept, closed, reset and silent, from each kind of client."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from typing import Any

import pytest
from sdk.python.tests.loopback import Answer, Handler, serving
from sdk.python.tests.senders import SENDERS, by_call, by_task

from headwater_sdk import AsyncClient, Client, FlushReport
from headwater_sdk._ahttp import AsyncTransport
from headwater_sdk._http import HttpTransport


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
