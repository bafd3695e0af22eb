"""The proxy of the fault tests: what it does to connections, seen from both ends."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.support.proxy import Proxy


class Line:
    """A connection through a proxy, with both ends in hand."""

    def __init__(self, proxy: Proxy, listening: socket.socket) -> None:
        self.near = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
        self.far, _ = listening.accept()
        self.far.settimeout(5)

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """The party behind the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


@pytest.fixture
def proxy(listening: socket.socket) -> Iterator[Proxy]:
    """The proxy before it."""
    with Proxy(listening.getsockname()[1]) as between:
        yield between


@pytest.fixture
def line(proxy: Proxy, listening: socket.socket) -> Iterator[Line]:
    """A connection that works."""
    with closing(Line(proxy, listening)) as both:
        both.near.sendall(b"ping")
        assert both.far.recv(10) == b"ping"
        yield both


def silent(end: socket.socket) -> bool:
    """Whether nothing arrives for a while."""
    end.settimeout(0.15)
    try:
        end.recv(10)
    except TimeoutError:
        return True
    finally:
        end.settimeout(5)
    return False


def assert_reset(proxy: Proxy) -> None:
    """A new connection is reset, at once or when something is read from it."""
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as refused,
    ):
        refused.recv(10)


def test_bytes_and_the_end_pass_in_both_directions(line: Line) -> None:
    """Without a fault nobody notices the proxy."""
    line.far.sendall(b"pong")
    assert line.near.recv(10) == b"pong"
    line.near.shutdown(socket.SHUT_WR)
    assert line.far.recv(10) == b""


def test_a_stall_holds_both_directions_until_it_is_healed(proxy: Proxy, line: Line) -> None:
    """What was sent meanwhile arrives afterwards, in order."""
    proxy.stall()
    line.near.sendall(b"1")
    line.far.sendall(b"a")
    assert silent(line.far)
    assert silent(line.near)
    line.near.sendall(b"2")
    proxy.heal()
    assert line.near.recv(1) == b"a"
    assert line.far.recv(1) + line.far.recv(1) == b"12"


def test_a_cut_holds_one_direction(proxy: Proxy, line: Line) -> None:
    """Requests arrive, answers do not."""
    proxy.cut("down")
    line.near.sendall(b"question")
    assert line.far.recv(10) == b"question"
    line.far.sendall(b"answer")
    assert silent(line.near)
    proxy.heal()
    assert line.near.recv(10) == b"answer"


def test_a_reset_is_seen_as_a_reset_by_both_ends_and_new_connections_work(
    proxy: Proxy, line: Line, listening: socket.socket
) -> None:
    """RST, not an orderly end."""
    proxy.reset()
    for end in (line.near, line.far):
        with pytest.raises(ConnectionResetError):
            end.recv(10)
    with closing(Line(proxy, listening)) as another:
        another.near.sendall(b"new")
        assert another.far.recv(10) == b"new"


def test_refusing_lasts_until_it_is_healed(proxy: Proxy, line: Line, listening: socket.socket) -> None:
    """New connections are reset too, and never reach the party behind."""
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        line.near.recv(10)
    assert_reset(proxy)
    proxy.heal()
    with closing(Line(proxy, listening)) as another:
        another.near.sendall(b"new")
        assert another.far.recv(10) == b"new"


def test_a_delay_holds_each_piece_for_a_while(proxy: Proxy, line: Line) -> None:
    """Late, but there."""
    proxy.delay(0.4)
    line.near.sendall(b"late")
    assert silent(line.far)
    assert line.far.recv(10) == b"late"


def test_a_fault_may_be_for_the_connections_of_one_process(proxy: Proxy, line: Line) -> None:
    """A stall of somebody else's connections leaves ours alone, a stall of ours does not."""
    proxy.stall(only=os.getppid())
    line.near.sendall(b"1")
    assert line.far.recv(1) == b"1"
    proxy.stall(only=os.getpid())
    line.near.sendall(b"2")
    assert silent(line.far)


def test_a_party_behind_that_is_gone_is_a_reset(proxy: Proxy, listening: socket.socket) -> None:
    """A killed server's port refuses, and so does its proxy."""
    listening.close()
    assert_reset(proxy)


def test_who_is_accepted_while_the_proxy_stops_is_closed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to the garbage collector, such a connection is complained of in the middle of another test."""
    left: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: left.append(str(told.exc_value)))
    connected = threading.Event()
    with ExitStack() as near, Proxy(listening.getsockname()[1]) as proxy:
        # it accepts them in the turn in which it stops
        proxy._loop.call_soon_threadsafe(connected.wait, 5)
        for _ in range(20):
            near.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=5))
        proxy._loop.call_soon_threadsafe(proxy._stop.set)
        connected.set()
    gc.collect()
    assert left == []
