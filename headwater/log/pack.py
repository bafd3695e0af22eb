"""Record batches as bytes: what one row of the SQLite log holds. Pure.

A packed batch is a head (version, codec, CRC-32, size) and a zstd frame of columns: timestamps, event counts, key and
value lengths, then keys and values back to back. The checksum covers the place the batch belongs to as well, so that a
row which turns up in the wrong place is as loud as one with a flipped bit.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from itertools import accumulate
from zlib import crc32

import zstandard

from headwater.errors import Corrupt
from headwater.log.protocol import Record

VERSION = 1
_HEAD = struct.Struct("<BBII")  # version, codec, CRC-32, bytes when unpacked
_PLACE = struct.Struct("<QII")  # row id, records, bytes when unpacked
_ZSTD = 1
_NONE = -1  # the length of a key or value that is None
# Level 1 packs 1.2 KB events 5 to 7 times at about 1 us an event; level 3 gains 5 % for twice the time (measured).
# Its window of 512 KB is halved: a core's own cache then holds it, which saves 15 to 25 % of the time of a large row for
# 0.5 % of its size (measured). Everything else follows from the level and the size of the row.
_FAST = zstandard.ZstdCompressionParameters(compression_level=1, window_log=18)


class _Zstandard(threading.local):
    """A compressor of each thread: making one costs 8 us, as much as packing a small row."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(compression_params=_FAST).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_ZSTANDARD = _Zstandard()


def pack(records: Sequence[Record], stamps: Sequence[int], place: int) -> bytes:
    """Records with their timestamps (milliseconds) as one blob for the row `place`."""
    n = len(records)
    keys = [record.key for record in records]
    values = [record.value for record in records]
    columns = struct.pack(
        f"<{n}q{n}I{n}i{n}i",
        *stamps,
        *(record.events for record in records),
        *(_NONE if key is None else len(key) for key in keys),
        *(_NONE if value is None else len(value) for value in values),
    )
    raw = b"".join((columns, *(key or b"" for key in keys), *(value or b"" for value in values)))
    body = _ZSTANDARD.compress(raw)
    return _HEAD.pack(VERSION, _ZSTD, _checksum(body, place, n, len(raw)), len(raw)) + body


def unpack(blob: bytes, place: int, base: int, count: int) -> list[Record]:
    """The records of the row `place`, with offsets from `base` on. Raises Corrupt if a single bit is not as written."""
    if len(blob) < _HEAD.size:
        raise Corrupt(
            f"batch at offset {base}: {len(blob)} bytes are too few for its head; restore the file from a backup"
        )
    version, codec, checksum, size = _HEAD.unpack_from(blob)
    body = memoryview(blob)[_HEAD.size :]
    if (version, codec) != (VERSION, _ZSTD) or checksum != _checksum(body, place, count, size):
        raise Corrupt(
            f"batch at offset {base} ({count} records): the checksum does not match its {len(blob)} bytes; "
            "the disk or another program changed the file, restore it from a backup"
        )
    raw = _ZSTANDARD.decompress(body, max_output_size=size)
    return _records(raw, base, count)


def _records(raw: bytes, base: int, n: int) -> list[Record]:
    columns = struct.unpack_from(f"<{n}q{n}I{n}i{n}i", raw)
    stamps, events, key_sizes, sizes = (columns[i * n : (i + 1) * n] for i in range(4))
    start = struct.calcsize(f"<{n}q{n}I{n}i{n}i")
    keys = _slices(raw, start, key_sizes)
    values = _slices(raw, start + sum(size for size in key_sizes if size > 0), sizes)
    offsets = range(base, base + n)
    return [
        Record(value, key, stamp, held, offset)
        for value, key, stamp, held, offset in zip(values, keys, stamps, events, offsets, strict=True)
    ]


def _slices(raw: bytes, start: int, sizes: Sequence[int]) -> list[bytes | None]:
    ends = list(accumulate((max(size, 0) for size in sizes), initial=start))
    return [
        None if size == _NONE else raw[begin : begin + size]
        for size, begin in zip(sizes, ends[:-1], strict=True)
    ]


def _checksum(body: bytes | memoryview, place: int, count: int, size: int) -> int:
    return crc32(body, crc32(_PLACE.pack(place, count, size)))
