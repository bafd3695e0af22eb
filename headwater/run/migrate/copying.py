"""Copying topics in transactions that also say how far the copy is: a kill at any instant costs nothing but time.

How far a topic is stands as the position of a group of its own. Claiming it fences whoever copied before; what was not
committed is not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct

from destinations.kit.batch import Place
from headwater.errors import LogUnavailable
from headwater.log.protocol import Entry, Log, Owner, Position, Record, TopicPartition
from headwater.log.topics import DESTINATION_TOTALS, TOTALS
from headwater.run.migrate.cargo import Load
from headwater.run.migrate.split import Split
from headwater.run.migrate.steps import Step

GROUP = "migration"
CHUNK_BYTES = 4 << 20  # of one transaction
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # brokers that are away for so long are waited for

Report = Callable[[int], None]  # offsets copied
logger = logging.getLogger(__name__)


class Progress(Struct):
    """How far a topic is: the step, and the place in it up to which everything is there."""

    move: str  # whose copy it is; that of an earlier one, taken back, says nothing
    step: int
    offset: int
    line: int
    events: int = 0  # copied so far


async def copy(old: Log, new: Log, load: Load, move: str, report: Report) -> int:
    """Copy a topic, or what is left of it; the number of events. Raises LogUnavailable after the last pause."""
    for pause in (*PAUSES_S, None):
        try:
            return await _copy(old, new, load, move, report)
        except LogUnavailable as error:
            if pause is None:
                raise
            logger.warning("copying %s stands still, next attempt in %g s: %s", load.topic, pause, error)
            await asyncio.sleep(pause)
    raise AssertionError("the last attempt raises or returns")


async def _copy(old: Log, new: Log, load: Load, move: str, report: Report) -> int:
    owner = await new.claim(GROUP, mark := TopicPartition(load.topic, 0))
    try:
        progress = _known(await owner.position(), move) or Progress(move, 0, *_first(load))
        for number, step in list(enumerate(load.steps))[progress.step :]:
            if number > progress.step:
                progress = Progress(move, number, *step.begin, progress.events)
            while Place(progress.offset, progress.line) < step.end:
                before = progress.offset
                progress = await _chunk(old, owner, mark, load, step, progress)
                report(progress.offset - before)
            for group in step.stand:
                await _stand(new, group, load.topic, step.targets)
    finally:
        await owner.close()
    return progress.events


def _known(stored: Position | None, move: str) -> Progress | None:
    progress = decode(stored.metadata) if stored else None
    return progress if progress and progress.move == move else None


def _first(load: Load) -> Place:
    return load.steps[0].begin if load.steps else Place(0)


async def _chunk(
    old: Log, owner: Owner, mark: TopicPartition, load: Load, step: Step, progress: Progress
) -> Progress:
    """Some records more, in one transaction with the place behind them."""
    at = Place(progress.offset, progress.line)
    batch = await old.read(TopicPartition(load.topic, step.partition), at.offset, max_bytes=CHUNK_BYTES)
    entries = list(_outputs(load.topic, batch.records, load.split_of(step.partition), at, step.end))
    behind = min(Place(max(batch.next_offset, at.offset + 1)), step.end)
    fresh = Progress(
        progress.move, progress.step, *behind, progress.events + sum(entry.record.events for entry in entries)
    )
    transaction = owner.begin()
    for entry in entries:
        transaction.append(entry.topic, entry.partition, [entry.record])
    transaction.advance(mark, Position(fresh.events, msgspec.json.encode(fresh).decode()))
    await transaction.commit()
    return fresh


def _outputs(
    topic: str, records: Iterable[Record], split: Split, begin: Place, end: Place
) -> Iterator[Entry]:
    for record in records:
        if Place(record.offset) >= end:
            return
        first = begin.line if record.offset == begin.offset else 0
        last = end.line if record.offset == end.offset else None
        for number, part in split(record, first, last).items():
            yield Entry(topic, number, part)


async def _stand(new: Log, group: str, topic: str, targets: Sequence[int]) -> None:
    """Let a reader stand at the end of what is there now: it has read all of it."""
    tps = [TopicPartition(topic, number) for number in targets]
    owner = await new.claim(group, tps[0])
    try:
        transaction = owner.begin()
        for tp in tps:
            transaction.advance(tp, Position((await new.bounds(tp)).end))
        await transaction.commit()
    finally:
        await owner.close()


async def write_counts(new: Log, counts: Sequence[Record], books: Sequence[Record]) -> None:
    """The counts of all stages, whole or not at all; writing them again changes nothing."""
    owner = await new.claim(GROUP, mark := TopicPartition(TOTALS, 0))
    try:
        transaction = owner.begin()
        transaction.append(TOTALS, 0, counts)
        transaction.append(DESTINATION_TOTALS, 0, books)
        transaction.advance(mark, Position(len(counts)))
        await transaction.commit()
    finally:
        await owner.close()


decode = msgspec.json.Decoder(Progress).decode
