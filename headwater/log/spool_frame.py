"""What a file of the spool holds: frames, one for each sync. Pure.

A frame is a head (magic and version, CRC-32, payload size, sequence number, when it was kept, events) and a payload: which
record goes to which partition, then the records as `headwater.log.pack` writes them. Sequence numbers go up by one from
frame to frame, across files, so that a missing frame is a fact and not a guess. The checksum begins with a salt that is in
the file's name and that no client knows: bytes of an event can never be taken for a frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

import msgspec

from headwater.log import pack
from headwater.log.protocol import Entry, Record

MAGIC = b"HWS1"
_SUM = struct.Struct("<4sI")  # magic, CRC-32 of all that follows
_FACTS = struct.Struct("<IQqI")  # payload bytes, sequence, milliseconds since 1970, events
_PLACES = struct.Struct("<I")
HEAD_BYTES = _SUM.size + _FACTS.size


class _Places(msgspec.Struct, array_like=True):
    """Where the records of a frame go: `of` and `partitions` have one number for each record."""

    topics: list[str]
    of: list[int]
    partitions: list[int]


class Frame(NamedTuple):
    """A frame that is as it was written; `end` is where it ends in the bytes it was found in."""

    sequence: int
    kept_ms: int
    events: int
    payload: bytes
    end: int


class Damage(NamedTuple):
    """Bytes that are no frame."""

    start: int
    end: int


def frame(sequence: int, entries: Sequence[Entry], now_ms: int, salt: int) -> bytes:
    """The entries as one frame; a record without a timestamp gets `now_ms`, for this is when it was taken."""
    payload = _payload(sequence, entries, now_ms)
    facts = _FACTS.pack(len(payload), sequence, now_ms, sum(entry.record.events for entry in entries))
    return _SUM.pack(MAGIC, crc32(payload, crc32(facts, salt))) + facts + payload


def entries_of(found: Frame) -> list[Entry]:
    """The entries of a frame, in the order in which they were given."""
    (size,) = _PLACES.unpack_from(found.payload)
    start = _PLACES.size + size
    places = msgspec.msgpack.decode(found.payload[_PLACES.size : start], type=_Places)
    records = pack.unpack(found.payload[start:], found.sequence, 0, len(places.of))
    return [
        Entry(
            places.topics[topic], partition, Record(record.value, record.key, record.timestamp, record.events)
        )
        for topic, partition, record in zip(places.of, places.partitions, records, strict=True)
    ]


def walk(data: bytes, salt: int) -> Iterator[Frame | Damage]:
    """Every frame of the bytes in order, and what lies between them."""
    at = 0
    while at < len(data):
        start, found = at, frame_at(data, at, salt)
        while found is None and (at := data.find(MAGIC, at + 1)) >= 0:
            found = frame_at(data, at, salt)
        if found is None or at > start:
            yield Damage(start, len(data) if found is None else at)
        if found is None:
            return
        yield found
        at = found.end


def frame_at(data: bytes, at: int, salt: int) -> Frame | None:
    """The frame that begins there, or None where none does."""
    if len(data) - at < HEAD_BYTES:
        return None
    magic, checksum = _SUM.unpack_from(data, at)
    size, sequence, kept_ms, events = _FACTS.unpack_from(data, at + _SUM.size)
    begin, end = at + HEAD_BYTES, at + HEAD_BYTES + size
    if magic != MAGIC or end > len(data):
        return None
    payload = data[begin:end]
    if checksum != crc32(payload, crc32(data[at + _SUM.size : begin], salt)):
        return None
    return Frame(sequence, kept_ms, events, payload, end)


def kept_ms_of(head: bytes) -> int:
    """When the frame with this head was kept, for a display; 0 where the bytes are no head."""
    if len(head) < HEAD_BYTES or not head.startswith(MAGIC):
        return 0
    kept_ms: int = _FACTS.unpack_from(head, _SUM.size)[2]
    return kept_ms


def _payload(sequence: int, entries: Sequence[Entry], now_ms: int) -> bytes:
    numbers = {topic: number for number, topic in enumerate(dict.fromkeys(entry.topic for entry in entries))}
    places = msgspec.msgpack.encode(
        _Places(
            list(numbers), [numbers[entry.topic] for entry in entries], [entry.partition for entry in entries]
        )
    )
    records = [entry.record for entry in entries]
    stamps = [record.timestamp or now_ms for record in records]
    return b"".join((_PLACES.pack(len(places)), places, pack.pack(records, stamps, sequence)))
