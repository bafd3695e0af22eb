"""A port that cannot be had is one clear sentence."""

from __future__ import annotations

import socket

import pytest

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
