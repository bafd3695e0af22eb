"""Dead letters: what an operator sees, and the two things to do with them.

`dead.<name>` is only ever appended to: letters, and notes of what was decided about earlier ones. A letter's id is its
offset. The group's position in it is the first letter still open, so that settled ones are not read again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import Raw

from destinations.kit.books import Books
from destinations.kit.records import Dead, Resolved, Retrying, Totals, decode_dead, encode
from headwater.clock import Clock
from headwater.log.protocol import Entry, Log, Position, Record, TopicPartition
from headwater.log.topics import DEAD_PREFIX, DESTINATION_GROUP_PREFIX, RETRY_PREFIX

BATCH = 500  # letters settled in one transaction


@dataclass(frozen=True, slots=True)
class Letter:
    """An open dead letter and its id."""

    id: int
    dead: Dead


@dataclass(slots=True)
class Resolution:
    """What a retry or discard did, by letter id."""

    done: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)  # no such letter, or settled before


def dead_topic(name: str) -> TopicPartition:
    """Where a destination's dead letters are."""
    return TopicPartition(DEAD_PREFIX + name, 0)


async def open_letters(log: Log, name: str) -> list[Letter]:
    """The letters nothing was decided about, oldest first."""
    return (await _open(log, name))[0]


async def _open(log: Log, name: str) -> tuple[list[Letter], int]:
    """The open letters, and the offset up to which the topic was read for them."""
    stored = await log.committed(DESTINATION_GROUP_PREFIX + name, dead_topic(name))
    folded, end = await _fold(log, name, stored.offset if stored else 0)
    return [Letter(offset, dead) for offset, (dead, state) in folded.items() if state == "dead"], end


async def letters(log: Log, name: str) -> AsyncIterator[tuple[Dead, str]]:
    """Every letter there ever was, oldest first, with its state: dead, retried or discarded."""
    folded, _ = await _fold(log, name, 0)
    for found in folded.values():
        yield found


async def _fold(log: Log, name: str, offset: int) -> tuple[dict[int, tuple[Dead, str]], int]:
    """Letters by offset with their state, and the offset after the last record read."""
    tp = dead_topic(name)
    begin, end = await log.bounds(tp)
    offset = max(begin, offset)
    found: dict[int, tuple[Dead, str]] = {}
    while offset < end:
        batch = await log.read(tp, offset)
        for record in batch.records:
            entry = decode_dead(record.value or b"")
            if isinstance(entry, Dead):
                found[record.offset] = (entry, "dead")
                continue
            known = (of for of in entry.offsets if of in found)
            found |= {of: (found[of][0], entry.state) for of in known}
        if batch.next_offset <= offset:
            break
        offset = batch.next_offset
    return found, offset


async def retry(log: Log, books: Books, clock: Clock, ids: Sequence[int] | None = None) -> Resolution:
    """Send letters again at once, with a fresh count of attempts; None means all of them."""
    return await _resolve(log, books, clock, ids, "retried")


async def discard(log: Log, books: Books, clock: Clock, ids: Sequence[int] | None = None) -> Resolution:
    """Give letters up for good; None means all of them. They stay counted as discarded."""
    return await _resolve(log, books, clock, ids, "discarded")


async def _resolve(log: Log, books: Books, clock: Clock, ids: Sequence[int] | None, state: str) -> Resolution:
    async with books.deciding:
        found, end = await _open(log, books.name)
        letters = {letter.id: letter for letter in found}
        wanted = list(letters) if ids is None else list(dict.fromkeys(ids))
        result = Resolution(unknown=[id_ for id_ in wanted if id_ not in letters])
        for chosen in _chunks([letters[id_] for id_ in wanted if id_ in letters]):
            for letter in chosen:
                del letters[letter.id]
            await _settle(log, books, clock, chosen, state, min(letters, default=end))
            result.done += [letter.id for letter in chosen]
    return result


def _chunks(letters: Sequence[Letter]) -> Iterator[Sequence[Letter]]:
    for start in range(0, len(letters), BATCH):
        yield letters[start : start + BATCH]


async def _settle(
    log: Log,
    books: Books,
    clock: Clock,
    chosen: Sequence[Letter],
    state: str,
    first_open: int,
) -> None:
    """One transaction: the note, the retries, the counts, and the position at the first letter still open."""
    tp, now_ms = dead_topic(books.name), clock.now_ms()
    note = Resolved(at_ms=now_ms, state=state, offsets=[letter.id for letter in chosen])
    entries = [Entry(*tp, Record(encode(note), timestamp=now_ms, events=0))]
    count = len(chosen)
    change = Totals(destination=books.name, dead=-count)
    if state == "retried":
        change.retrying = count
        entries += [_again(books.name, letter, now_ms) for letter in chosen]
    else:
        change.discarded = count
    owner = await log.claim(DESTINATION_GROUP_PREFIX + books.name, tp)
    try:
        await books.commit(owner, tp, Position(first_open), entries, change, patience=())
    finally:
        await owner.close()


def _again(name: str, letter: Letter, now_ms: int) -> Entry:
    waiting = Retrying(
        due_ms=now_ms,
        attempts=0,
        first_ms=0,
        reason="dead letter retried",
        event=Raw(bytes(letter.dead.event)),
    )
    return Entry(RETRY_PREFIX + name, 0, Record(encode(waiting), timestamp=now_ms))
