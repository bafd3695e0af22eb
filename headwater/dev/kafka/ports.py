"""Free ports for servers that are killed and started again on the same port."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_240


def free_ports(number: int, taken: Collection[int] = ()) -> list[int]:
    """Ports of loopback that nobody listens on.

    They lie below those the kernel gives to clients: while a killed broker is away, its clients knock again and again,
    and one of their own connections could otherwise sit on the broker's port when it comes back.
    """
    first_of_clients = int(_RANGE.read_text().split()[0])
    highest = first_of_clients if first_of_clients > 2 * _LOWEST else 32_768
    chosen: list[int] = []
    while len(chosen) < number:
        port = random.SystemRandom().randrange(_LOWEST, highest)
        if port not in taken and port not in chosen and is_free(port):
            chosen.append(port)
    return chosen


def is_free(port: int) -> bool:
    """Whether a server can listen on the port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
