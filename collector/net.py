"""The client's address, told by proxies we trust and nobody else. Pure.

Each proxy appends the address it saw, so the chain is read from the right: entries of trusted proxies are stepped over,
the first other one is the client, and whatever stands left of it was written by the client itself. A chain that cannot
be read ends there. `X-Forwarded-For` counts before `Forwarded`: most proxies write only the former and pass the latter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Header = tuple[bytes, bytes]


def parse_address(text: str) -> Address | None:
    """An address as proxies write it: with a port, in brackets, with a zone, IPv4 mapped into IPv6; None otherwise."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def is_trusted(address: Address | None, trusted: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks."""
    return address is not None and any(address in network for network in trusted)


def client_ip(peer: str | None, headers: Iterable[Header], trusted: Sequence[Network]) -> str | None:
    """The address of the client, as text; the peer's own where it is no trusted proxy."""
    here = parse_address(peer) if peer else None
    if here is None:
        return None
    if trusted and is_trusted(here, trusted):
        for entry in reversed(list(_chain(headers))):
            address = parse_address(entry)
            if address is None:
                break
            here = address
            if not is_trusted(address, trusted):
                break
    return str(here)


def _chain(headers: Iterable[Header]) -> Iterator[str]:
    """The addresses of all forwarding headers, leftmost (farthest) first."""
    headers = list(headers)
    values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    if values:
        yield from (entry for entry in ",".join(values).split(",") if entry.strip())
        return
    for value in (value.decode("latin-1") for name, value in headers if name == b"forwarded"):
        for hop in value.split(","):
            yield _for(hop)


def _for(hop: str) -> str:
    """The `for=` of one hop of RFC 7239; empty (which ends the chain) where it has none."""
    for pair in hop.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip()
    return ""


def forwarded_origin(headers: Iterable[Header]) -> tuple[str | None, str | None]:
    """Scheme and host that a trusted proxy says the client used; the last proxy's word counts."""
    scheme = host = None
    for name, value in headers:
        if name == b"x-forwarded-proto":
            scheme = value.decode("latin-1").rpartition(",")[2].strip().lower()
        elif name == b"x-forwarded-host":
            host = value.decode("latin-1").rpartition(",")[2].strip()
    return (scheme if scheme in {"http", "https"} else None), host
