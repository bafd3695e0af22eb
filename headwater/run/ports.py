"""Listening sockets, bound before any child starts, so that a port in use is one clear sentence."""

from __future__ import annotations

import errno
import socket

from headwater.errors import HeadwaterError
from headwater.run.files import bracketed

BACKLOG = 2_048  # connections wait here while a killed collector is started again


class PortUnavailable(HeadwaterError):
    """The address cannot be listened on."""


def listen(host: str, port: int, option: str, host_option: str = "--host") -> socket.socket:
    """A listening TCP socket (port 0: any free one). Raises PortUnavailable, naming the option that changes it."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise PortUnavailable(
            f"{host!r} is no address of this machine ({error.strerror}); see {host_option}"
        ) from None
    listening = socket.socket(family, kind, proto)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise PortUnavailable(_sentence(error, host, port, option, host_option)) from None
    listening.setblocking(False)
    return listening


def _sentence(error: OSError, host: str, port: int, option: str, host_option: str) -> str:
    where = f"{bracketed(host)}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: something else listens on {where}; stop it or choose another with {option}"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has; choose one from 1024 on with {option}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host!r} is no address of this machine; see {host_option}"
    return f"cannot listen on {where}: {error.strerror}; choose another with {option}"


def free_port(host: str, port: int, option: str) -> int:
    """The port itself, once it was shown to be free (0: any free one). Raises PortUnavailable."""
    with listen(host, port, option) as listening:
        chosen: int = listening.getsockname()[1]
        return chosen
