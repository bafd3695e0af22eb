"""Sorted runs of fingerprints and the filter before them: the pure part of the dedupe memory on disk.

A *run* is immutable: fixed-size entries, sorted, end to end, without separators; it is searched by bisection and merged
with others by sorting (Timsort merges runs in linear time). A *filter* is a blocked Bloom filter: one 64-bit word and
one mask a key, so that an event which is new, as nearly all are, costs one multiplication-free probe of memory and no
disk. It says "perhaps" for about one unknown key in two hundred at its capacity of 4 keys a word.

Every event ends up here, so whatever is done for each entry is done by a call for many of them where there is one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from math import isqrt
from operator import eq
from random import Random
from struct import Struct
from typing import Final

from headwater.state.protocol import FINGERPRINT_BYTES

WIDTH: Final = FINGERPRINT_BYTES - 1  # of an entry: what follows the first byte, which says the shard
KEYS_PER_WORD: Final = 4  # 16 bits a key

_ENTRY: Final = Struct(f"{WIDTH}s")
_BLOCK: Final = Struct(f"{WIDTH}s" * 256)
# The last six bytes of an entry and of its fingerprint: the word, and the mask in it.
_BITS: Final = Struct(">IH")
_ENTRY_BITS: Final = Struct(f">{WIDTH - _BITS.size}xIH")
_MASK_BITS: Final = 5
_MASK_INDEX: Final = 0xFFF
_WORD_BITS: Final = 62  # of the 64: the largest numbers that compiled code keeps without an object


def _masks() -> list[int]:
    """4096 fixed masks of five bits each: one index instead of five hash functions."""
    # Not for secrets: the masks only have to be spread evenly and to be the same in each run of the tests.
    draw = Random(1)  # noqa: S311
    bits = range(_WORD_BITS)
    return [sum(1 << bit for bit in draw.sample(bits, _MASK_BITS)) for _ in range(_MASK_INDEX + 1)]


_MASKS: Final = _masks()


class Filter:
    """Says "certainly not" or "perhaps" of a key; holds `capacity` keys well, and more of them less sharply."""

    __slots__ = ("_size", "_words", "capacity")

    def __init__(self, capacity: int) -> None:
        self._size = max(16, -(-capacity // KEYS_PER_WORD))
        self._words = array("Q", bytes(8 * self._size))
        self.capacity = self._size * KEYS_PER_WORD

    def add(self, run: memoryview | bytes) -> None:
        """Add the entries of a run, whose bytes are uniformly distributed; sorted they need not be."""
        words, size, masks = self._words, self._size, _MASKS
        place: int
        index: int
        for place, index in _ENTRY_BITS.iter_unpack(run):
            words[place % size] |= masks[index & _MASK_INDEX]

    def __contains__(self, key: bytes) -> bool:
        """Whether the entry, or the fingerprint it is the end of, may have been added."""
        place: int
        index: int
        place, index = _BITS.unpack_from(key, len(key) - _BITS.size)
        mask = _MASKS[index & _MASK_INDEX]
        return self._words[place % self._size] & mask == mask

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._size * 8


def entries(run: bytes) -> list[bytes]:
    """The entries of a run."""
    whole = len(run) - len(run) % _BLOCK.size
    blocks, rest = _BLOCK.iter_unpack(run[:whole]), _ENTRY.iter_unpack(run[whole:])
    return list(chain.from_iterable(chain(blocks, rest)))


def merge(runs: Sequence[bytes]) -> bytes:
    """One run with the entries of several, each once."""
    return b"".join(_each_once(entries(b"".join(runs))))


def shards(fingerprints: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """For each first byte that occurs, the run of the fingerprints that begin with it."""
    ordered = b"".join(_each_once(list(fingerprints)))
    first, tails = ordered[::FINGERPRINT_BYTES], bytearray(len(ordered) // FINGERPRINT_BYTES * WIDTH)
    for at in range(WIDTH):  # by columns: cutting off a byte of each would be a call for each
        tails[at::WIDTH] = ordered[at + 1 :: FINGERPRINT_BYTES]
    start = 0
    while start < len(first):
        end = bisect_right(first, first[start], start)
        yield first[start], bytes(tails[start * WIDTH : end * WIDTH])
        start = end


def _each_once(some: list[bytes]) -> list[bytes]:
    """Sorted; a list without repetitions, as nearly all are, is only looked through, not hashed."""
    some.sort()
    return list(dict.fromkeys(some)) if any(map(eq, some, islice(some, 1, None))) else some


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
