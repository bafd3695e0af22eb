"""ClickHouse's own compression (`compress=1`), which JDBC asks for by default: blocks of LZ4 with a checksum. Pure.

A block is 16 bytes of CityHash128 (version 1.0.2, which ClickHouse froze), then method (0x82), compressed size with these
nine bytes, plain size, and LZ4 data. The hash is written out here because no maintained package carries it for every
Python version; it runs over compressed bytes only, at some 30 MB/s.
"""

from __future__ import annotations

import struct

try:
    import lz4.block as lz4_block  # type: ignore[import-untyped]
except ImportError:  # clickhouse-connect brings it only for some versions of Python
    lz4_block = None

BLOCK = 1 << 20  # plain bytes of one block
_LZ4, _NONE = 0x82, 0x02
_HEAD = struct.Struct("<BII")
_PAIR = struct.Struct("<QQ")
_FOUR = struct.Struct("<QQQQ")
_M = (1 << 64) - 1
_K0, _K1, _K2, _K3 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557
_MUL = 0x9DDFEA08EB382D69

Pair = tuple[int, int]


class Blocks:
    """Compresses chunk by chunk, each chunk into blocks of its own."""

    def compress(self, data: bytes) -> bytes:
        """The blocks of some bytes."""
        return b"".join(block(data[start : start + BLOCK]) for start in range(0, len(data), BLOCK))

    def flush(self) -> bytes:
        """Nothing is ever left."""
        return b""

    @staticmethod
    def readable(data: bytes) -> bytes:
        """A block in which the bytes stand as they are: clickhouse-go looks for an error before it decompresses."""
        return _framed(_LZ4, _literals(data), len(data))


def block(plain: bytes) -> bytes:
    """One block; without LZ4 at hand it is stored as it is, which every client reads."""
    method, packed = (
        (_NONE, plain) if lz4_block is None else (_LZ4, lz4_block.compress(plain, store_size=False))
    )
    return _framed(method, packed, len(plain))


def _literals(plain: bytes) -> bytes:
    """LZ4 data of one sequence that copies nothing; 15 and more literals are counted in further bytes of up to 255."""
    size = len(plain)
    if size < 15:
        return bytes((size << 4,)) + plain
    return b"\xf0" + b"\xff" * ((size - 15) // 255) + bytes(((size - 15) % 255,)) + plain


def _framed(method: int, packed: bytes, plain_size: int) -> bytes:
    body = _HEAD.pack(method, len(packed) + _HEAD.size, plain_size) + packed
    return _PAIR.pack(*city128(body)) + body


def city128(data: bytes) -> Pair:
    """CityHash128 1.0.2 as (low, high)."""
    size = len(data)
    if size >= 16:
        low, high = _PAIR.unpack_from(data)
        return _seeded(data[16:], low ^ _K3, high)
    if size >= 8:
        return _seeded(b"", _u64(data, 0) ^ (size * _K0 & _M), _u64(data, size - 8) ^ _K1)
    return _seeded(data, _K0, _K1)


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _rotate(value: int, shift: int) -> int:
    return ((value >> shift) | (value << (64 - shift))) & _M


def _mix(value: int) -> int:
    return value ^ (value >> 47)


def _hash16(low: int, high: int) -> int:
    first = (low ^ high) * _MUL & _M
    second = (high ^ _mix(first)) * _MUL & _M
    return _mix(second) * _MUL & _M


def _hash_short(data: bytes) -> int:
    size = len(data)
    if size > 8:
        end = _u64(data, size - 8)
        return _hash16(_u64(data, 0), _rotate((end + size) & _M, size)) ^ end
    if size >= 4:
        head, tail = int.from_bytes(data[:4], "little"), int.from_bytes(data[-4:], "little")
        return _hash16((size + (head << 3)) & _M, tail)
    if size:
        left = data[0] + (data[size >> 1] << 8)
        right = size + (data[-1] << 2)
        return _mix((left * _K2 ^ right * _K3) & _M) * _K2 & _M
    return _K2


def _weak(words: tuple[int, int, int, int], first: int, second: int) -> Pair:
    w, x, y, z = words
    first += w
    second = _rotate((second + first + z) & _M, 21)
    kept = first
    first += x + y
    second += _rotate(first & _M, 44)
    return (first + z) & _M, (second + kept) & _M


def _murmur(data: bytes, a: int, b: int) -> Pair:
    size = len(data)
    if size <= 16:
        a = _mix(a * _K1 & _M) * _K1 & _M
        c = (b * _K1 + _hash_short(data)) & _M
        d = _mix((a + (_u64(data, 0) if size >= 8 else c)) & _M)
    else:
        c = _hash16((_u64(data, size - 8) + _K1) & _M, a)
        d = _hash16((b + size) & _M, (c + _u64(data, size - 16)) & _M)
        a = (a + d) & _M
        for at in range(0, size - 16, 16):
            a = (a ^ _mix(_u64(data, at) * _K1 & _M) * _K1 & _M) * _K1 & _M
            b ^= a
            c = (c ^ _mix(_u64(data, at + 8) * _K1 & _M) * _K1 & _M) * _K1 & _M
            d ^= c
    a, b = _hash16(a, c), _hash16(d, b)
    return a ^ b, _hash16(b, a)


def _seeded(data: bytes, x: int, y: int) -> Pair:
    size = len(data)
    if size < 128:
        return _murmur(data, x, y)
    z = size * _K1 & _M
    v0 = (_rotate(y ^ _K1, 49) * _K1 + _u64(data, 0)) & _M
    v = (v0, (_rotate(v0, 42) * _K1 + _u64(data, 8)) & _M)
    w = ((_rotate((y + z) & _M, 35) * _K1 + x) & _M, _rotate((x + _u64(data, 88)) & _M, 53) * _K1 & _M)
    for at in range(0, size - size % 128, 64):
        near, far = _FOUR.unpack_from(data, at), _FOUR.unpack_from(data, at + 32)
        x = _rotate((x + y + v[0] + near[2]) & _M, 37) * _K1 & _M
        y = _rotate((y + v[1] + far[2]) & _M, 42) * _K1 & _M
        x ^= w[1]
        y ^= v[0]
        z = _rotate(z ^ w[0], 33)
        v = _weak(near, v[1] * _K1 & _M, x + w[0])
        w = _weak(far, z + w[1], y)
        z, x = x, z
    y = (y + _rotate(w[0], 37) * _K0 + z) & _M
    x = (x + _rotate((v[0] + z) & _M, 49) * _K0) & _M
    return _finish(data, size % 128, (x, y), v, w)


def _finish(data: bytes, left: int, state: Pair, v: Pair, w: Pair) -> Pair:
    """The last, incomplete 128 bytes, 32 at a time from the end."""
    (x, y), w0 = state, w[0]
    for done in range(32, left + 32, 32):
        words = _FOUR.unpack_from(data, len(data) - done)
        y = (_rotate((y - x) & _M, 42) * _K0 + v[1]) & _M
        w0 = (w0 + words[2]) & _M
        x = (_rotate(x, 49) * _K0 + w0) & _M
        w0 = (w0 + v[0]) & _M
        v = _weak(words, v[0], v[1])
    x, y = _hash16(x, v[0]), _hash16(y, w0)
    return (_hash16((x + v[1]) & _M, w[1]) + y) & _M, _hash16((x + w[1]) & _M, (y + v[1]) & _M)
