"""The two things to do with dead letters: send them again, or give them up.

Whoever decides owns the topic of the letters, from before it is looked at which are open until all are settled: of two who
decide at once in different processes the later one goes on, and the earlier one is fenced and told so.

At most BATCH letters share a transaction: the note of what was decided, the retries, the counts, and the position at the
first letter still open. Millions are settled in one transaction after another, with little memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from msgspec import Raw

from destinations.kit.books import Books, Page
from destinations.kit.letters import Letter, Open, dead_topic, letter_of, open_letters, survey
from destinations.kit.records import Resolved, Retrying, Totals, encode
from headwater.clock import Clock
from headwater.log.protocol import Entry, Log, Position, Record
from headwater.log.topics import DESTINATION_GROUP_PREFIX, RETRY_PREFIX

BATCH = 500  # letters settled in one transaction

Progress = Callable[[int, int], Awaitable[None]]  # letters settled so far, of how many


@dataclass(slots=True)
class Resolution:
    """What a retry or discard did: how many, and by id where ids were given."""

    count: int = 0
    done: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)  # no such letter, or settled before


async def quietly(_done: int, _total: int) -> None:
    """Nobody is told of the progress."""


async def retry(
    log: Log, books: Books, clock: Clock, ids: Sequence[int] | None = None, progress: Progress = quietly
) -> Resolution:
    """Send letters again at once, with a fresh count of attempts; None means all that are open now."""
    return await _resolve(log, books, clock, ids, "retried", progress)


async def discard(
    log: Log, books: Books, clock: Clock, ids: Sequence[int] | None = None, progress: Progress = quietly
) -> Resolution:
    """Give letters up for good; None means all that are open now. They stay counted as discarded."""
    return await _resolve(log, books, clock, ids, "discarded", progress)


async def _resolve(
    log: Log, books: Books, clock: Clock, ids: Sequence[int] | None, state: str, progress: Progress
) -> Resolution:
    async with _deciding(log, books) as page:
        found = await survey(log, books.name)
        wanted = None if ids is None else list(dict.fromkeys(ids))
        result = Resolution()
        if wanted is None:
            letters, total = open_letters(log, books.name, found), found.count
        else:
            result.unknown = [id_ for id_ in wanted if id_ not in found]
            letters, total = _chosen(log, books.name, wanted, found), len(wanted) - len(result.unknown)
        async for chosen in _chunks(letters):
            found.settle(letter.id for letter in chosen)
            await _settle(page, clock, chosen, state, found.first)
            result.count += len(chosen)
            result.done += [letter.id for letter in chosen] if wanted is not None else ()
            await progress(result.count, total)
    return result


@asynccontextmanager
async def _deciding(log: Log, books: Books) -> AsyncIterator[Page]:
    """Own the letters, with the counts of what was decided about them. One at a time in this process."""
    tp = dead_topic(books.name)
    async with books.deciding:
        owner = await log.claim(DESTINATION_GROUP_PREFIX + books.name, tp)
        try:
            yield (await books.open({tp: owner}))[tp]
        finally:
            await owner.close()


async def _chosen(log: Log, name: str, ids: Sequence[int], found: Open) -> AsyncIterator[Letter]:
    for id_ in ids:
        if (letter := await letter_of(log, name, id_, found)) is not None:
            yield letter


async def _chunks(letters: AsyncIterator[Letter]) -> AsyncIterator[list[Letter]]:
    chunk: list[Letter] = []
    async for letter in letters:
        chunk.append(letter)
        if len(chunk) == BATCH:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _settle(page: Page, clock: Clock, chosen: Sequence[Letter], state: str, first_open: int) -> None:
    """One transaction: the note, the retries, the counts, and the position at the first letter still open."""
    now_ms = clock.now_ms()
    note = Resolved(at_ms=now_ms, state=state, offsets=[letter.id for letter in chosen])
    entries = [Entry(*page.tp, Record(encode(note), timestamp=now_ms, events=0))]
    count = len(chosen)
    change = Totals(destination=page.name, dead=-count)
    if state == "retried":
        change.retrying = count
        entries += [_again(page.name, letter, now_ms) for letter in chosen]
    else:
        change.discarded = count
    await page.commit(Position(first_open), entries, change, patience=())


def _again(name: str, letter: Letter, now_ms: int) -> Entry:
    waiting = Retrying(
        due_ms=now_ms,
        attempts=0,
        first_ms=0,
        reason="dead letter retried",
        event=Raw(bytes(letter.dead.event)),
    )
    return Entry(RETRY_PREFIX + name, 0, Record(encode(waiting), timestamp=now_ms))
