"""Which dead letters are open, found in one pass over `dead.<name>`, and read one after another: never all at once.

The topic is only ever appended to: letters, and notes of what was decided about earlier ones. A letter's id is its offset.
The group's position in it is the first letter still open, so that settled ones are not read again. What is held of the rest
is one bit an offset: a megabyte for eight million letters.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from destinations.kit.records import RESOLVED, Dead, Resolved, decode_dead
from headwater.log.protocol import Log, Record, TopicPartition
from headwater.log.topics import DEAD_PREFIX, DESTINATION_GROUP_PREFIX


@dataclass(frozen=True, slots=True)
class Letter:
    """An open dead letter and its id."""

    id: int
    dead: Dead


def dead_topic(name: str) -> TopicPartition:
    """Where a destination's dead letters are."""
    return TopicPartition(DEAD_PREFIX + name, 0)


class Open:
    """The ids of open letters within a stretch of the topic."""

    def __init__(self, begin: int) -> None:
        self._begin = begin
        self.end = begin  # the offset up to which the topic was read
        self.count = 0
        self._bits = bytearray()
        self._first = 0  # no byte before this one has a bit

    def __contains__(self, offset: int) -> bool:
        at = offset - self._begin
        return 0 <= at < 8 * len(self._bits) and bool(self._bits[at >> 3] & 1 << (at & 7))

    def add(self, offset: int) -> None:
        """A letter was found; offsets grow."""
        at = offset - self._begin
        self._bits.extend(bytes(max(0, (at >> 3) + 1 - len(self._bits))))
        self._bits[at >> 3] |= 1 << (at & 7)
        self._first = min(self._first, at >> 3)
        self.count += 1

    def settle(self, offsets: Iterable[int]) -> None:
        """These are no longer open; what never was is no matter."""
        for offset in offsets:
            if offset in self:
                at = offset - self._begin
                self._bits[at >> 3] &= ~(1 << (at & 7))
                self.count -= 1

    @property
    def first(self) -> int:
        """The first open one; where none is, the end."""
        while self._first < len(self._bits):
            if byte := self._bits[self._first]:
                return self._begin + 8 * self._first + (byte & -byte).bit_length() - 1
            self._first += 1
        return self.end


async def survey(log: Log, name: str) -> Open:
    """Which letters nothing was decided about."""
    stored = await log.committed(DESTINATION_GROUP_PREFIX + name, dead_topic(name))
    begin, end = await log.bounds(dead_topic(name))
    found = Open(max(begin, stored.offset if stored else 0))
    async for record in _records(log, name, found.end, end):
        value = record.value or b""
        if not value.startswith(RESOLVED):
            found.add(record.offset)
        elif isinstance(note := decode_dead(value), Resolved):
            found.settle(note.offsets)
        found.end = record.offset + 1
    return found


async def open_letters(log: Log, name: str, found: Open | None = None) -> AsyncIterator[Letter]:
    """The open letters, oldest first; `found` saves the survey. What is settled meanwhile is left out."""
    found = found or await survey(log, name)
    async for record in _records(log, name, found.first, found.end):
        if record.offset in found and isinstance(dead := decode_dead(record.value or b""), Dead):
            yield Letter(record.offset, dead)


async def letter_of(log: Log, name: str, letter_id: int, found: Open) -> Letter | None:
    """One open letter; None where there is no such letter, or it was settled."""
    if letter_id not in found:
        return None
    async for record in _records(log, name, letter_id, letter_id + 1):
        if isinstance(dead := decode_dead(record.value or b""), Dead):
            return Letter(record.offset, dead)
    return None


async def fates(log: Log, name: str, needle: bytes, wanted: Callable[[Dead], bool]) -> list[str]:
    """The states (dead, retried, discarded) of all letters that are wanted, oldest first; they contain `needle`."""
    begin, end = await log.bounds(dead_topic(name))
    found: dict[int, str] = {}
    async for record in _records(log, name, begin, end):
        value = record.value or b""
        if not value.startswith(RESOLVED) and needle not in value:
            continue
        entry = decode_dead(value)
        if isinstance(entry, Resolved):
            found |= dict.fromkeys((of for of in entry.offsets if of in found), entry.state)
        elif wanted(entry):
            found[record.offset] = "dead"
    return list(found.values())


async def _records(log: Log, name: str, offset: int, end: int) -> AsyncIterator[Record]:
    """The records of the topic from an offset up to, not including, another."""
    while offset < end:
        batch = await log.read(dead_topic(name), offset)
        for record in batch.records:
            if record.offset >= end:
                return
            yield record
        if batch.next_offset <= offset:
            return
        offset = batch.next_offset
