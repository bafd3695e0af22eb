"""The PROXY protocol, versions 1 and 2, as bytes: what a load balancer says before the client's first byte. Pure.

See haproxy's `proxy-protocol.txt`. The connection layer that uses it is `collector.protocol`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_MAX = 107
_V2_HEADER = 16
_V2_MAX = 4096  # addresses take 36 bytes, the rest are extensions we skip
_TCP4, _TCP6 = 0x11, 0x21


class Malformed(ValueError):
    """The bytes are no PROXY header."""


class Proxied(NamedTuple):
    """The client's address and port (None: the connection is the proxy's own), and the header's length in bytes."""

    client: tuple[str, int] | None
    length: int


def parse(data: bytes) -> Proxied | None:
    """Read the header at the beginning of `data`; None while it is incomplete. Raises Malformed."""
    if data.startswith(SIGNATURE):
        return _parse_v2(data)
    if data.startswith(b"PROXY "):
        return _parse_v1(data)
    if SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    raise Malformed("the connection does not begin with a PROXY header")


def _parse_v1(data: bytes) -> Proxied | None:
    end = data.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(data) >= _V1_MAX:
            raise Malformed("the PROXY line has no end")
        return None
    words = data[:end].decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return Proxied(None, end + 2)
    try:
        _, family, source, destination, port, _ = words
        kind = {"TCP4": IPv4Address, "TCP6": IPv6Address}[family]
        kind(destination)
        return Proxied((str(kind(source)), _port(port)), end + 2)
    except (ValueError, KeyError):
        raise Malformed("the PROXY line is malformed") from None


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:6]) <= 65_535:
        return int(text)
    raise Malformed("the PROXY line has no valid port")


def _parse_v2(data: bytes) -> Proxied | None:
    if len(data) < _V2_HEADER:
        return None
    version, command = data[12] >> 4, data[12] & 0x0F
    family, length = data[13], int.from_bytes(data[14:16], "big")
    if version != 2 or command not in {0, 1} or length > _V2_MAX:
        raise Malformed("the PROXY header has an unknown version or command")
    total = _V2_HEADER + length
    if len(data) < total:
        return None
    body = data[_V2_HEADER:total]
    if command == 0 or family not in {_TCP4, _TCP6}:
        return Proxied(None, total)  # a health check of the proxy itself, or no internet address
    size = 4 if family == _TCP4 else 16
    if length < 2 * size + 4:
        raise Malformed("the PROXY header is too short for its addresses")
    address = IPv4Address(body[:4]) if family == _TCP4 else IPv6Address(body[:16])
    port = int.from_bytes(body[2 * size : 2 * size + 2], "big")
    return Proxied((str(address), port), total)
