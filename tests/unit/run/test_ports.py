"""A port that cannot be had is one clear sentence; one that can sends answers at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from destinations.clickhouse import http
from headwater.run.ports import PortUnavailable, free_port, listen


def test_a_port_in_use_names_the_port_and_the_option() -> None:
    """The next step is in the message."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"port {port} is in use: .* choose another with --port"):
            listen("127.0.0.1", port, "--port")


def test_an_address_of_another_machine_is_refused() -> None:
    """--host must be an address of this machine."""
    with pytest.raises(PortUnavailable, match=r"'192\.0\.2\.1' is no address of this machine; see --host"):
        listen("192.0.2.1", 0, "--port")


def test_port_zero_gives_a_free_one_that_can_be_listened_on() -> None:
    """What `free_port` answers can be bound at once."""
    port = free_port("127.0.0.1", 0, "--port")
    with listen("127.0.0.1", port, "--port") as listening:
        assert listening.getsockname()[1] == port


class Noting(asyncio.Protocol):
    """Notes whether an accepted connection waits before it sends small answers (Nagle's algorithm)."""

    def __init__(self, told: asyncio.Future[int]) -> None:
        self._told = told

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at the accepted socket, then hang up."""
        accepted = transport.get_extra_info("socket")
        self._told.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        transport.close()


async def no_delay(listening: socket.socket) -> bool:
    """Whether connections accepted from that socket send at once."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()
    server = await loop.create_server(lambda: Noting(told), sock=listening)
    host, port = listening.getsockname()[:2]
    _, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(10):
            return bool(await told)
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()


def handed_over(listening: socket.socket) -> socket.socket:
    """The socket as a child gets it: by its descriptor alone."""
    return socket.socket(fileno=listening.detach())


SOCKETS: dict[str, Callable[[], socket.socket]] = {
    "listen": lambda: listen("127.0.0.1", 0, "--port"),
    "listen, by name": lambda: listen("localhost", 0, "--port"),
    "handed to the collector": lambda: handed_over(listen("127.0.0.1", 0, "--port")),
    "the SQL interface": lambda: http._listen("127.0.0.1", 0),
}


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("name", SOCKETS)
def test_accepted_connections_send_small_answers_at_once(
    name: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Nagle's algorithm is off on either loop: with it, each answer in two pieces waits 40 ms for the client."""
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(no_delay(SOCKETS[name]()))
