"""What waits for a flush: made in pieces while it waits, and in the end equal to a portion that was made at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destinations.clickhouse.gathering import Gathering
from destinations.clickhouse.lots import events
from destinations.clickhouse.portions import CHUNK_ROWS, Portion, Prepared, Preparer, change, lots, outputs
from headwater.clock import ManualClock
from headwater.log import topics
from headwater.log.protocol import Record, TopicPartition
from tests.unit.destinations.clickhouse.loading import cells_of, event

TP, OTHER = (TopicPartition(topics.PROCESSED, number) for number in (0, 1))
SIDE = TopicPartition(topics.DROPPED, 0)


def preparer() -> Preparer:
    """Rows of events; one in seven is filtered out."""
    made = iter(range(1_000_000))
    return Preparer(events(columnar=True), lambda _: None if next(made) % 7 else "filter", filtered=False)


def stretch(begin: int, count: int, size: int) -> list[Record]:
    """Records of `size` lines; the first line of every fifth is no event."""
    return [
        Record(
            b"\n".join(
                [b"oops" if offset % 5 == 0 and n == 0 else event(f"{offset}.{n}") for n in range(size)]
            ),
            events=size,
            offset=offset,
        )
        for offset in range(begin, begin + count)
    ]


class Making:
    """Makes rows when it is told to, and remembers how many portions it was given."""

    def __init__(self) -> None:
        self._preparer, self.calls, self.go = preparer(), 0, asyncio.Event()
        self.go.set()

    async def __call__(self, portions: Sequence[Portion]) -> list[Prepared]:
        """Rows, once it may."""
        self.calls += 1
        await self.go.wait()
        return [self._preparer.prepare(portion, 7) for portion in portions]


def held() -> tuple[Making, Gathering]:
    """A chunk of each of two partitions, whose rows are made once `go` is set."""
    making = Making()
    making.go.clear()
    gathering = Gathering(making, ManualClock())
    for tp in (TP, OTHER):
        gathering.take(Portion(tp, 0, 0), stretch(0, 1, CHUNK_ROWS), 1)
    return making, gathering


def told(prepared: Prepared) -> tuple[object, ...]:
    """All that is stored because of a portion."""
    portion = prepared.portion
    inserted = [
        (lot.table.name, [(row.place, cells_of(row)) for row in lot.rows])
        for lot in lots([prepared], events(columnar=True))
    ]
    entries = [entry.record.value for entry in outputs(prepared, "warehouse", 7)]
    return portion.tp, portion.begin, portion.end, inserted, entries, change(prepared, "warehouse")


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=6), size=st.sampled_from([1, 150, CHUNK_ROWS]))
async def test_a_portion_made_in_pieces_equals_one_made_at_once(cuts: list[int], size: int) -> None:
    """Rows, dead letters, counts and the record of every line do not depend on when what came."""
    cuts = cuts if size < CHUNK_ROWS else cuts[:2]
    making = Making()
    gathering, begin = Gathering(making, ManualClock()), 10
    whole = Portion(TP, begin, begin)
    for count in cuts:
        records = stretch(begin, count, size)
        gathering.take(Portion(TP, begin, begin), records, begin + count)
        whole.take(records)
        whole.end = begin = begin + count
        await asyncio.sleep(0)
    assert gathering.events == whole.events
    (found,) = await gathering.give([True])
    assert told(found) == told(preparer().prepare(whole, 7))
    assert gathering.events == 0
    assert not gathering.since


async def test_full_chunks_are_made_while_more_is_awaited() -> None:
    """A flush finds the rows of what came early, and makes only the rest."""
    making = Making()
    gathering = Gathering(making, ManualClock())
    gathering.take(Portion(TP, 0, 0), stretch(0, 1, CHUNK_ROWS - 1), 1)
    await asyncio.sleep(0)
    assert making.calls == 0
    gathering.take(Portion(TP, 1, 1), stretch(1, 1, 1), 2)
    await asyncio.sleep(0)
    assert making.calls == 1
    gathering.take(Portion(TP, 2, 2), stretch(2, 1, 10), 3)
    (found,) = await gathering.give([True])
    assert making.calls == 2
    assert len(found.states) == CHUNK_ROWS + 10


async def test_a_partition_that_is_taken_away_is_forgotten_while_its_rows_are_made() -> None:
    """What another process will load is not handed over here; its neighbours are."""
    making, gathering = held()
    dropping = asyncio.create_task(gathering.drop([TP]))
    await asyncio.sleep(0)
    making.go.set()
    await dropping
    assert gathering.events == CHUNK_ROWS
    assert [one.portion.tp for one in await gathering.give([True])] == [OTHER]


async def test_what_is_read_while_a_partition_is_taken_away_does_not_bring_its_rows_back() -> None:
    """The loop goes on taking from its neighbours when the making ends, and two may wait for the same making."""
    making, gathering = held()
    await asyncio.sleep(0)
    dropping = [asyncio.create_task(gathering.drop([TP])), asyncio.create_task(gathering.drop(()))]
    await asyncio.sleep(0)
    making.go.set()
    for begin in range(1, 6):
        gathering.take(Portion(OTHER, begin, begin), stretch(begin, 1, CHUNK_ROWS), begin + 1)
        await asyncio.sleep(0)
    await asyncio.gather(*dropping)
    (found,) = await gathering.give([True])
    assert (found.portion.tp, found.portion.begin, found.portion.end) == (OTHER, 0, 6)


async def test_side_topics_wait_apart() -> None:
    """A flush of events leaves what is told of them waiting, and the other way round."""
    gathering = Gathering(Making(), ManualClock())
    gathering.take(Portion(SIDE, 0, 0), [Record(b"", events=1, offset=0)], 1)
    gathering.take(Portion(TP, 0, 0), stretch(0, 1, 3), 1)
    assert [one.portion.tp for one in await gathering.give([True])] == [TP]
    assert list(gathering.since) == [False]
    assert [one.portion.tp for one in await gathering.give([False])] == [SIDE]


async def test_a_failure_to_make_rows_is_the_flushs() -> None:
    """Rows that could not be made are never taken for made."""

    async def broken(portions: Sequence[Portion]) -> list[Prepared]:
        raise MemoryError(len(portions))

    gathering = Gathering(broken, ManualClock())
    gathering.take(Portion(TP, 0, 0), stretch(0, 1, CHUNK_ROWS), 1)
    with pytest.raises(MemoryError):
        await gathering.give([True])
