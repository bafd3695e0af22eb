"""An `on_error` that calls the client itself: what such calls lose is counted and not told again, so that it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Callable

import pytest
from sdk.python.tests.loopback import serving

from headwater_sdk import AsyncClient, Client, FlushReport
from headwater_sdk._report import merged

TOO_OFTEN = 50  # who hears so many errors of so few events hears of its own calls
App = Callable[[Any], None]


class Listener:
    """Makes a call at each error, like an app that counts its errors with the same SDK."""

    def __init__(self, call: App) -> None:
        self.client: Any = None
        self.heard: list[str] = []
        self._call = call

    def __call__(self, error: Any, events: list[dict[str, Any]]) -> None:
        """Hear of an error."""
        self.heard += [error.code] * len(events)
        if len(self.heard) < TOO_OFTEN:
            self._call(self.client)


def by_thread(url: str, listener: Listener, app: App, heard: int) -> FlushReport:
    """Deliver from the background thread."""
    client = listener.client = Client("wk", url, on_error=listener, max_queue_size=2, upload_interval=60)
    app(client)
    while len(listener.heard) < heard:
        time.sleep(0.001)
    return merged(client.flush(20), client.shutdown(20))


def by_call(url: str, listener: Listener, app: App, _: int) -> FlushReport:
    """Deliver in the calls."""
    client = listener.client = Client("wk", url, on_error=listener, sync_mode=True)
    app(client)
    return merged(client.flush(20), client.shutdown(20))


def by_task(url: str, listener: Listener, app: App, heard: int) -> FlushReport:
    """Deliver from asyncio."""

    async def program() -> FlushReport:
        options: dict[str, Any] = {"max_queue_size": 2, "upload_interval": 60}
        client = listener.client = AsyncClient("wk", url, on_error=listener, **options)
        app(client)
        while len(listener.heard) < heard:
            await asyncio.sleep(0.001)
        return merged(await client.flush(20), await client.close(20))

    return asyncio.run(program())


def track_one(client: Any) -> None:
    """Make a call, which on a full queue drops an event."""
    client.track("u1", "Error Seen")


def track_nobody(client: Any) -> None:
    """Make a call that is refused."""
    client.track(None, "Error Seen")


def track_five(client: Any) -> None:
    """Make three calls more than the queue holds."""
    for _ in range(5):
        client.track("u1", "A")


@pytest.mark.parametrize("send", [by_thread, by_task])
def test_a_call_on_a_full_queue_is_not_told_of_what_it_drops(send: Any) -> None:
    """It would drop an event at each call, hear of it, call again, and so on."""
    listener = Listener(track_one)
    with serving() as server:
        report = send(server.url, listener, track_five, 3)
    assert listener.heard == ["queue_full"] * 3
    assert report.delivered == 2
    assert 4 <= report.dropped_count <= 6  # theirs, and one for each time that the listener was called


@pytest.mark.parametrize("send", [by_thread, by_call, by_task])
def test_nor_of_its_own_call_that_is_refused(send: Any) -> None:
    """Both are in the report."""
    listener = Listener(track_nobody)
    with serving() as server:
        report = send(server.url, listener, track_nobody, 1)
    assert listener.heard == ["no_user_anon_id"]
    assert report.rejected_count == 2


def elsewhere(call: App, client: Any) -> None:
    """Make a call from another thread, and wait for it."""
    thread = threading.Thread(target=call, args=[client])
    thread.start()
    thread.join(20)


def test_what_others_lose_while_the_listener_is_busy_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Only the listener's own calls are hushed, and the log says that there were some."""

    def call_twice(client: Any) -> None:
        track_nobody(client)
        if len(listener.heard) == 1:
            elsewhere(track_nobody, client)

    listener = Listener(call_twice)
    with serving() as server:
        report = by_thread(server.url, listener, track_nobody, 2)
    assert listener.heard == ["no_user_anon_id"] * 2
    assert report.rejected_count == 4
    assert caplog.messages == ["1 more events were not delivered; flush() reports how many"] * 2


def test_a_listener_that_never_ends_leaves_the_loops_other_tasks_their_turns() -> None:
    """Another thread loses an event each time that the listener hears of one: the loop goes on all the same."""
    listener = Listener(lambda client: elsewhere(track_nobody, client))

    async def program(url: str) -> None:
        async with AsyncClient("wk", url, on_error=listener) as client:
            listener.client = client
            track_nobody(client)
            for _ in range(10):
                await asyncio.sleep(0)
            listener.heard += [""] * TOO_OFTEN  # which ends it

    with serving() as server:
        asyncio.run(program(server.url))
    assert 0 < len(listener.heard) - TOO_OFTEN <= 12
