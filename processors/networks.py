"""Which network an address lies in: merged ranges and a binary search, for IPv4 and IPv6."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

_OCTETS: Final = {
    str(octet): octet for octet in range(256)
}  # as addresses write them: no sign, no leading zero


class Networks:
    """Named networks; overlapping ones answer with the narrowest."""

    def __init__(self, named: Mapping[str, Iterable[Network | str]]) -> None:
        ranges: dict[int, list[tuple[int, int, str]]] = {4: [], 6: []}
        for name, networks in named.items():
            for network in map(ip_network, networks):
                first = int(network.network_address)
                ranges[network.version].append((first, int(network.broadcast_address), name))
        self._tables = {version: _flatten(found) for version, found in ranges.items()}

    def name_of(self, address: str) -> str | None:
        """The network's name; None for addresses outside, and for text that is no address."""
        found = _usual(address) or _any(address)
        if found is None:
            return None
        version, number = found
        starts, ends, names = self._tables[version]
        at = bisect_right(starts, number) - 1
        return names[at] if at >= 0 and number <= ends[at] else None


def _usual(address: str) -> tuple[int, int] | None:
    """Version and number of an IPv4 address; None for any other text. A tenth of what `ipaddress` takes."""
    parts = address.split(".", 4)
    if len(parts) != 4:
        return None
    number = 0
    for part in parts:
        if (octet := _OCTETS.get(part)) is None:
            return None
        number = number << 8 | octet
    return 4, number


def _any(address: str) -> tuple[int, int] | None:
    """The same for every way to write an address of either version; None for text that is none."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.version, int(ip)


def _flatten(ranges: list[tuple[int, int, str]]) -> tuple[list[int], list[int], list[str]]:
    """Ranges without overlaps, in order: networks nest or are apart, so an inner one only interrupts its outer one."""
    flat: list[tuple[int, int, str]] = []
    outer: list[tuple[int, str]] = []
    at = 0
    for first, last, name in sorted(ranges, key=lambda found: (found[0], -found[1])):
        while outer and outer[-1][0] < first:
            at = _emit(flat, at, *outer.pop())
        if outer and at < first:
            flat.append((at, first - 1, outer[-1][1]))
        at = first
        outer.append((last, name))
    while outer:
        at = _emit(flat, at, *outer.pop())
    return [entry[0] for entry in flat], [entry[1] for entry in flat], [entry[2] for entry in flat]


def _emit(flat: list[tuple[int, int, str]], at: int, last: int, name: str) -> int:
    if at <= last:
        flat.append((at, last, name))
    return max(at, last + 1)
