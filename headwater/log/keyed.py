"""Rows of compacted topics in the SQLite log: the last value of each key, checksummed one by one. Pure."""

from __future__ import annotations

import struct
from zlib import crc32

from headwater.errors import Corrupt
from headwater.log.protocol import Record
from headwater.log.sqlite_file import OFFSET_MASK, row_id

KeyedRow = tuple[int, int, bytes, bytes | None, int, int, int]  # id, part, key, value, events, ms, checksum
_FACTS = struct.Struct("<QqqI?")


def keyed_row(part: int, record: Record) -> KeyedRow:
    """The row of a keyed record whose offset and timestamp are set. Raises ValueError without a key."""
    if record.key is None:
        raise ValueError(
            "a record of a compacted topic needs a key; its value replaces the key's earlier one"
        )
    place = row_id(part, record.offset)
    facts = (place, part, record.key, record.value, record.events, record.timestamp)
    return (*facts, _checksum(facts))


def keyed_record(row: KeyedRow) -> Record:
    """The record of a row. Raises Corrupt if it is not as written."""
    place, _, key, value, events, ms, checksum = row
    if _checksum(row[:6]) != checksum:
        raise Corrupt(
            f"key {key[:80]!r} at offset {place & OFFSET_MASK}: the checksum does not match; "
            "the disk or another program changed the file, restore it from a backup"
        )
    return Record(value, key, ms, events, place & OFFSET_MASK)


def _checksum(facts: tuple[int, int, bytes, bytes | None, int, int]) -> int:
    place, part, key, value, events, ms = facts
    return crc32(value or b"", crc32(key, crc32(_FACTS.pack(place, part, ms, events, value is None))))
