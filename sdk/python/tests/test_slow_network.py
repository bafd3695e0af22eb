"""A network too slow for a full request in time: requests hold fewer events until they get through, from each kind of client."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from sdk.python.tests.loopback import Handler, Loopback, reset, serving

from headwater_sdk import AsyncClient, Client, FlushReport
from headwater_sdk._ahttp import AsyncTransport
from headwater_sdk._answers import Answer, may_be_too_much
from headwater_sdk._core import GROW_AFTER, Pace
from headwater_sdk._http import HttpTransport

EVENTS = 8
LARGE = 3_000_000


def event(number: int, size: int) -> bytes:
    """An event of so many bytes, about."""
    return b'{"messageId":"m%d","type":"track","text":"%s"}' % (number, b"x" * size)


def by_thread(url: str, size: int, **options: Any) -> FlushReport:
    """Send them from the background thread."""
    with Client("wk", url, upload_interval=60, **options) as client:
        for number in range(EVENTS):
            client._pipeline.put(event(number, size))
        return client.flush(60)


def by_call(url: str, size: int, **options: Any) -> FlushReport:
    """Send a backlog in the calling thread."""
    with Client("wk", url, sync_mode=True, **options) as client:
        for number in range(EVENTS):
            client._pipeline.put(event(number, size))
        return client.flush(60)


def by_task(url: str, size: int, **options: Any) -> FlushReport:
    """Send them from asyncio."""

    async def program() -> FlushReport:
        async with AsyncClient("wk", url, upload_interval=60, **options) as client:
            for number in range(EVENTS):
                client._put(event(number, size))
            return await client.flush(60)

    return asyncio.run(program())


SENDERS = pytest.mark.parametrize("send", [by_thread, by_call, by_task])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)  # no pauses between attempts


def sizes(server: Loopback) -> list[int]:
    """How many events each request held."""
    return [len(body["batch"]) for _, body in server.requests]


def arrived(server: Loopback) -> list[str]:
    """The events in the order in which they came first."""
    return list(dict.fromkeys(server.ids))


@SENDERS
def test_a_network_that_carries_two_events_in_time_gets_all_of_them(send: Any) -> None:
    """Halved until they get through; what is behind them is not tried at full size again."""

    def carry_two(handler: Handler) -> None:
        if sizes(handler.server)[-1] > 2:
            handler.server.released.wait(20)
            handler.close_connection = True
        else:
            handler.answer(200)

    with serving(*[carry_two] * 100) as server:
        report = send(server.url, 10, timeout=1)
        server.released.set()
    assert (report.delivered, report.ok) == (EVENTS, True)
    assert arrived(server) == [f"m{number}" for number in range(EVENTS)]
    assert sizes(server)[:4] == [8, 4, 2, 2]
    assert sorted(sizes(server)[4:]) == [2, 2, 4]  # whether it carries more by now is asked once


class Cutting(Handler):
    """Breaks the connection within a large body, as a proxy does that bounds the time of a request, or its size."""

    tries: list[int]

    def do_POST(self) -> None:
        """Read a small body to its end."""
        length = int(self.headers["Content-Length"])
        self.tries.append(length)
        if length < 3 * LARGE:
            super().do_POST()
        else:
            self.rfile.read(1_000)
            reset(self)


@SENDERS
def test_a_connection_that_breaks_within_the_body_is_tried_with_a_smaller_one(
    send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same again would break at the same place. The events are larger than what the system takes over at once."""
    monkeypatch.setattr("headwater_sdk._core.MOST_EVENT_BYTES", 2 * LARGE)
    monkeypatch.setattr("headwater_sdk._core.MOST_REQUEST_BYTES", 2 * EVENTS * LARGE)
    tries: list[int] = []
    with serving() as server:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        server.RequestHandlerClass = type("CuttingHere", (Cutting,), {"tries": tries})
        report = send(server.url, LARGE, timeout=20)
    assert (report.delivered, report.ok) == (EVENTS, True)
    assert arrived(server) == [f"m{number}" for number in range(EVENTS)]
    assert [length // LARGE for length in tries][:4] == [8, 4, 2, 2]
    # More is tried once more, and at once again, as the connection was one that was kept.
    assert [length // LARGE for length in tries][4:] == [4, 4, 2, 2]


@SENDERS
@pytest.mark.parametrize(("patience", "wanted"), [(20.0, [8, 8]), (0.0, [8, 4, 4])])
def test_a_connection_that_breaks_without_an_answer_is_too_much_only_when_that_took_long(
    send: Any, patience: float, wanted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes over a body at once, however long it is on its way; a server that restarts says nothing about it."""
    monkeypatch.setattr("headwater_sdk._answers._LONG_FOR_AN_ANSWER_S", patience)
    with serving("reset") as server:
        assert send(server.url, 10).delivered == EVENTS
    assert sizes(server) == wanted


def in_this_thread(url: str, timeout: float) -> Answer:
    """Send one request with `http.client`."""
    return HttpTransport(Client("wk", url, timeout=timeout).settings.target).send(b"{}", 0)


def on_a_loop(url: str, timeout: float) -> Answer:
    """Send one request with asyncio."""
    return asyncio.run(AsyncTransport(Client("wk", url, timeout=timeout).settings.target).send(b"{}", 0))


@pytest.mark.parametrize("send", [in_this_thread, on_a_loop])
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_host_to_which_there_is_no_connection_says_nothing_about_the_size(send: Any, how: str) -> None:
    """An outage must not leave requests of one event behind it."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        if how == "silent":  # its queue is full: further connections get no answer
            listener.listen(0)
            for other in (first, second):
                other.setblocking(False)
                other.connect_ex(listener.getsockname())
        began = time.monotonic()
        answer = send(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.3)
        assert (answer.status, answer.too_much) == (0, False)
        assert (time.monotonic() - began >= 0.3) is (how == "silent")


@pytest.mark.parametrize(
    ("sent", "took", "timed_out", "wanted"),
    [
        (None, 15.0, True, False),
        (False, 0.01, False, True),
        (True, 0.01, False, False),
        (True, 0.01, True, True),
        (True, 1.0, False, True),
    ],
)
def test_when_a_request_may_have_been_too_much(
    sent: bool, took: float, timed_out: bool, wanted: bool
) -> None:
    """Not connected, cut within the body, a quick break, a timeout, a late break."""
    assert may_be_too_much(sent, took, timed_out=timed_out) is wanted


def test_requests_that_are_not_full_do_not_make_them_grow() -> None:
    """That one event gets through says nothing about twice as many as were too much before."""
    pace = Pace(100)
    pace.too_much(100)
    for _ in range(GROW_AFTER * 10):
        pace.through(49)
    assert pace.most == 50
    for _ in range(GROW_AFTER):
        pace.through(50)
    assert pace.most == 100


def through_until_they_grow(pace: Pace) -> int:
    """How many full requests it takes."""
    before, requests = pace.most, 0
    while pace.most == before:
        pace.through(before)
        requests += 1
    return requests


def test_on_a_slow_network_every_tenth_request_at_most_is_too_much() -> None:
    """Each costs its whole timeout. Once the larger size gets through, it is a fast one again."""
    pace = Pace(100)
    pace.too_much(100)
    taken = []
    for _ in range(6):
        taken.append(through_until_they_grow(pace))
        pace.too_much(100)
    assert taken == [2, 4, 8, 10, 10, 10]
    assert through_until_they_grow(pace) == 10
    pace.through(100)
    pace.too_much(100)
    assert through_until_they_grow(pace) == 2
