"""Sorted runs of fingerprints and the filter before them: the pure part of the dedupe memory on disk.

A *run* is immutable: fixed-size entries, sorted, end to end, without separators; it is searched by bisection and merged
with others by sorting (Timsort merges runs in linear time). A *filter* is a blocked Bloom filter: one 64-bit word and
one mask a key, so that an event which is new, as nearly all are, costs one multiplication-free probe of memory and no
disk. It says "perhaps" for about one unknown key in two hundred at its capacity of 4 keys a word.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import isqrt
from random import Random

KEYS_PER_WORD = 4  # 16 bits a key
_MASK_BITS = 5
_MASK_INDEX = 0xFFF


def _masks() -> list[int]:
    """4096 fixed masks of five bits each: one index instead of five hash functions."""
    # Not for secrets: the masks only have to be spread evenly and to be the same in each run of the tests.
    draw = Random(1)  # noqa: S311
    return [sum(1 << bit for bit in draw.sample(range(64), _MASK_BITS)) for _ in range(_MASK_INDEX + 1)]


_MASKS = _masks()


class Filter:
    """Says "certainly not" or "perhaps" of a key; holds `capacity` keys well, and more of them less sharply."""

    __slots__ = ("_size", "_words", "capacity")

    def __init__(self, capacity: int) -> None:
        self._size = max(16, -(-capacity // KEYS_PER_WORD))
        self._words = array("Q", bytes(8 * self._size))
        self.capacity = self._size * KEYS_PER_WORD

    def add(self, keys: Iterable[bytes]) -> None:
        """Add keys of at least 8 uniformly distributed bytes."""
        words, size, masks, number = self._words, self._size, _MASKS, int.from_bytes
        for key in keys:
            value = number(key[-8:], "big")
            words[(value >> 12) % size] |= masks[value & _MASK_INDEX]

    def __contains__(self, key: bytes) -> bool:
        value = int.from_bytes(key[-8:], "big")
        mask = _MASKS[value & _MASK_INDEX]
        return self._words[(value >> 12) % self._size] & mask == mask

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._size * 8


def entries(run: bytes, width: int) -> list[bytes]:
    """The entries of a run."""
    return [run[at : at + width] for at in range(0, len(run), width)]


def merge(runs: Sequence[bytes], width: int) -> bytes:
    """One run with the entries of several, each once."""
    merged = sorted(entry for run in runs for entry in entries(run, width))
    return b"".join(dict.fromkeys(merged))


def has(run: memoryview | bytes, entry: bytes) -> bool:
    """Whether the run has the entry; reads only the places it compares.

    Entries are uniformly distributed, so their place can be foretold: entry x of n lies within about sqrt(n) of x * n.
    The few that lie farther off are found by bisection.
    """
    width = len(entry)
    count = len(run) // width
    guess = int.from_bytes(entry[:6], "big") * count >> 48
    slack = 4 + 2 * isqrt(count)
    low, high = max(0, guess - slack), min(count, guess + slack)
    window = bytes(run[low * width : high * width])
    if (low == 0 or window[:width] <= entry) and (high == count or window[-width:] >= entry):
        at = window.find(entry)
        while at >= 0 and at % width:
            at = window.find(entry, at + 1)
        return at >= 0
    at = bisect_left(range(count), entry, key=lambda i: bytes(run[i * width : i * width + width]))
    return at < count and run[at * width : at * width + width] == entry
