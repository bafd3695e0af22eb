"""Reading the outputs back: what a partition's state must know of records that are already in the log.

State equals a fold of `events.processed`, `events.dropped` (of its own partition) and `profiles` (all of them). What was
let through by dedupe is there again: every processed event, and every dropped one that got past dedupe.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

import msgspec
from msgspec import Raw, Struct

from headwater import event
from headwater.log.protocol import Log, Record, TopicPartition
from headwater.log.topics import DROPPED, PROCESSED
from processors import dedupe

_log = logging.getLogger("headwater.processors")
_BEFORE_DEDUPE = frozenset(("decode", "normalize", "dedupe"))
READ_BYTES = 4 << 20


class _Kept(Struct, rename="camel"):
    """What dedupe needs to know of an event, in its accepted or its processed form."""

    source_id: str
    message_id: str
    received_at: str


class _DroppedKept(Struct):
    processor: str
    event: Raw


_kept = msgspec.json.Decoder(_Kept)
_dropped = msgspec.json.Decoder(_DroppedKept)


def processed(record: Record, memory: dedupe.Memory) -> None:
    """Remember the events of a record of `events.processed`."""
    _each(PROCESSED, record, lambda line: _remember(_kept.decode(line), memory))


def dropped(record: Record, memory: dedupe.Memory) -> None:
    """Remember the events of a record of `events.dropped` that dedupe had let through."""

    def take(line: bytes) -> None:
        what = _dropped.decode(line)
        if what.processor not in _BEFORE_DEDUPE:
            _remember(_kept.decode(what.event), memory)

    _each(DROPPED, record, take)


def _each(topic: str, record: Record, take: Callable[[bytes], None]) -> None:
    """Every line; one that is no event, which only another program can have written, is told and passed."""
    strange = 0
    for line in event.lines(record.value):
        try:
            take(line)
        except (msgspec.DecodeError, ValueError):
            strange += 1
    if strange:
        _log.error(
            "%s: the record at offset %d holds lines that are no events (%d): another program wrote them; they are passed",
            topic, record.offset, strange,
        )  # fmt: skip


def _remember(kept: _Kept, memory: dedupe.Memory) -> None:
    memory.remember(dedupe.fingerprint(kept.source_id, kept.message_id), dedupe.day_of(kept.received_at))


async def records(log: Log, tp: TopicPartition, offset: int) -> AsyncIterator[tuple[list[Record], int]]:
    """Records from `offset` to the end with the offset after them; tells of what retention has removed."""
    begin, end = await log.bounds(tp)
    if offset < begin:
        if offset:
            _log.warning(
                "%s[%d]: the state had folded up to offset %d, retention has removed everything before %d; "
                "duplicates of events that old are found no more", tp.topic, tp.partition, offset, begin,
            )  # fmt: skip
        offset = begin
    while offset < end:
        batch = await log.read(tp, offset, max_bytes=READ_BYTES)
        if batch.next_offset <= offset:
            return
        offset = batch.next_offset
        yield batch.records, offset
