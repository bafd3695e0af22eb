"""How long a caller waits: never longer than it said, whatever the server does, and as long as it said without an end."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from sdk.python.tests.loopback import Handler, serving
from sdk.python.tests.programs import run
from sdk.python.tests.virtual import ScriptedServer, VirtualTime

from headwater_sdk import Client
from headwater_sdk._core import Core
from headwater_sdk._http import HttpTransport
from headwater_sdk._pipeline import Pipeline
from headwater_sdk._shell import Shell


def virtual(
    time: VirtualTime, answers: list[dict[str, Any]], took: float, **options: Any
) -> tuple[Client, ScriptedServer]:
    """Return a synchronous client in virtual time, whose server takes so many seconds for each answer."""
    client = Client("wk", "http://collector.test", sync_mode=True, **options)
    server = ScriptedServer(time, client.settings.target, answers)

    def later(_: int) -> None:
        time.now += took

    server.during = later
    limits, target = client.settings.limits, client.settings.target
    client._pipeline = Pipeline(
        Shell(
            core=lambda: Core(limits, time.monotonic, time.wall, lambda: 0.0),
            transport=lambda: server,
            target=target,
            monotonic=time.monotonic,
            wall=time.wall,
            condition=time.condition(1),
        ),
        threaded=False,
    )
    return client, server


def test_a_synchronous_call_ends_in_time_although_retries_are_immediate() -> None:
    """A server that is slow to say 503, and a backoff of zero: the deadline holds all the same."""
    time_ = VirtualTime()
    client, server = virtual(time_, [{"status": 503}] * 5, took=6)
    deadline = time_.now + 15
    client._pipeline.core.offer(b'{"messageId":"m1","type":"track"}')
    client._pipeline.deliver(deadline)
    assert len(server.requests) == 3  # at 0, 6 and 12 s; the last one gets 3 s from a real transport
    assert client.queued == 1
    client.shutdown(0)


def test_a_synchronous_call_does_not_work_off_a_backlog_beyond_its_time() -> None:
    """After an outage a hundred requests wait: a call takes its part of them."""
    time_ = VirtualTime()
    client, server = virtual(time_, [{"status": 200}] * 100, took=1, upload_size=1)
    for number in range(100):
        client._pipeline.core.offer(b'{"messageId":"m%d","type":"track"}' % number)
    client._pipeline.deliver(time_.now + 10)
    assert (len(server.requests), client.queued) == (10, 90)
    client.shutdown(0)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "trickling", [b"", HEAD + b"Content-Length: 1000\r\n\r\n", HEAD + b"X-Slow: ", b"HTTP/1.1 200 "]
)
def test_a_request_takes_no_longer_than_its_caller_has(trickling: bytes) -> None:
    """The target's timeout is for those who can wait; a kept connection and an answer that trickles, wherever, are no exception."""

    def trickle(handler: Handler) -> None:
        handler.wfile.write(trickling)
        while not handler.server.released.wait(0.02):
            handler.wfile.write(b".")

    with serving(200, trickle if trickling else "silent") as server:
        transport = HttpTransport(Client("wk", server.url, timeout=20).settings.target)
        assert transport.send(b'{"batch":[]}', 0).status == 200
        began = time.monotonic()
        answer = transport.send(b'{"batch":[]}', 0, 0.2)
        assert answer.status == 0
        assert time.monotonic() - began < 5
        transport.close()


def test_the_exit_of_a_program_without_a_thread_is_bounded_too() -> None:
    """A synchronous client with a backlog and a silent server: `exit_timeout`, not the request's timeout."""
    with serving("silent") as server:
        began = time.monotonic()
        done = run(
            "c = headwater_sdk.Client('wk', argv[1], sync_mode=True, exit_timeout=0.3)\n"
            'c._pipeline.put(b\'{"type":"track","messageId":"m1"}\')',
            server.url,
        )
        assert time.monotonic() - began < 10
        server.released.set()
    assert done.returncode == 0
    assert "1 events were not delivered: closed" in done.stderr


@pytest.mark.parametrize("sync_mode", [False, True])
def test_a_wait_without_an_end_is_allowed(sync_mode: bool) -> None:
    """`flush(math.inf)` waits for the answer; an infinite interval sends what is flushed, or full."""
    with serving(503) as server:
        client = Client("wk", server.url, sync_mode=sync_mode, upload_interval=math.inf)
        client.track("u1", "A")
        assert client.flush(math.inf).delivered == 1
        client.shutdown()
