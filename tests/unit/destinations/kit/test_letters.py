"""Dead letters by the thousand: read one after another, settled in steps, never all in memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import orjson
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from destinations.kit import control, dlq
from destinations.kit.books import Books, all_totals
from destinations.kit.inspect import deliveries_of, records
from destinations.kit.letters import Open, dead_topic, letter_of, open_letters, survey
from destinations.kit.records import Dead, Delivery, ItemState, Span, Totals, encode
from headwater.clock import ManualClock
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.topics import DELIVERIES, DESTINATION_TOTALS, PROCESSED
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from tests.support.delivering import NAME, event, letters_of, workspace

LETTERS = 8 * dlq.BATCH + 100
TEXT = 4_000  # characters of each answer


async def log_with_letters(count: int) -> MemoryLog:
    """A log with so many open letters, each counted."""
    log = MemoryLog(1, ManualClock())
    tp = dead_topic(NAME)
    body = "x" * TEXT
    dead = [
        Dead(at_ms=n, code="http_404", response={"body": f"{n}{body}"}, event=Raw(orjson.dumps(event(n))))
        for n in range(count)
    ]
    totals = Totals(destination=NAME, read=count, dead=count)
    entries = [Entry(*tp, Record(encode(one))) for one in dead]
    await log.append([*entries, Entry(DESTINATION_TOTALS, 0, Record(encode(totals), key=NAME.encode()))])
    return log


async def test_settling_all_letters_holds_some_of_them_at_a_time() -> None:
    """Memory does not grow with the number of letters: a batch is read, settled and let go."""
    log = await log_with_letters(LETTERS)
    books, steps = Books.of(log, NAME), []

    async def progress(done: int, total: int) -> None:
        steps.append((done, total))

    tracemalloc.start()
    try:
        resolution = await dlq.discard(log, books, ManualClock(), None, progress)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * dlq.BATCH * TEXT < LETTERS * TEXT / 2
    assert (resolution.count, resolution.done) == (LETTERS, []), "a list of millions of ids is no answer"
    assert steps == [(min(n * dlq.BATCH, LETTERS), LETTERS) for n in range(1, 10)]
    assert (await all_totals(log))[NAME] == Totals(destination=NAME, read=LETTERS, discarded=LETTERS)
    assert (await log.committed(f"destination.{NAME}", dead_topic(NAME))) == Position(LETTERS)


async def test_listing_reads_no_further_than_it_shows() -> None:
    """The first letters of many are there at once; settled ones are left out; any one is found by its id."""
    log = await log_with_letters(LETTERS)
    await dlq.discard(log, Books.of(log, NAME), ManualClock(), [1, LETTERS - 1])
    found = await survey(log, NAME)
    assert found.count == LETTERS - 2
    shown = []
    tracemalloc.start()
    try:
        async for letter in open_letters(log, NAME, found):
            shown.append(letter.id)
            if len(shown) == 3:
                break
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (shown, peak < 100 * TEXT) == ([0, 2, 3], True)
    assert [await letter_of(log, NAME, gone, found) for gone in (1, LETTERS - 1, LETTERS, -1)] == [None] * 4
    one = await letter_of(log, NAME, 700, found)
    assert one is not None
    assert (one.id, one.dead.at_ms) == (700, 700)


async def test_the_state_of_one_letter_is_found_among_many() -> None:
    """A journey says discarded of the one event it is about, whatever became of its neighbours."""
    log = await log_with_letters(40)
    books = Books.of(log, NAME)
    await dlq.discard(log, books, ManualClock(), [7])
    for number, state in ((7, "discarded"), (8, "dead")):
        item = ItemState(message_id=f"m{number}", state="dead", attempt=1)
        span = Span(PROCESSED, 0, 0, 0, 1, 0)
        told = Delivery(destination=NAME, at_ms=1, state="dead", events=2, span=span, items=[item])
        await log.append([Entry(DELIVERIES, 0, Record(encode(told)))])
        (journey,) = await deliveries_of(log, f"m{number}", [NAME], [])
        assert journey.state == state


async def test_a_long_settlement_tells_of_its_progress_through_the_socket(tmp_path: Path) -> None:
    """The one who asks waits for a line at a time, not for all of it, and sees how far it is."""
    data, clock = DataDir(tmp_path).make(), ManualClock()
    log, wanted = await log_with_letters(LETTERS), workspace("http://localhost:1/")
    steps = []

    async def progress(done: int, total: int) -> None:
        steps.append((done, total))

    async with control.serve_control(data, log, LiveWorkspace(wanted), clock, list):
        done = await control.settle_letters(data, wanted, clock, "retry", NAME, None, progress)
    assert done == {"count": LETTERS, "done": [], "unknown": []}
    assert steps[-1] == (LETTERS, LETTERS)
    assert len(steps) == 9
    assert await letters_of(log, NAME) == []
    assert sum([1 async for _ in records(log, TopicPartition(f"retry.{NAME}", 0))]) == LETTERS


@given(
    begin=st.integers(0, 1000),
    steps=st.lists(st.tuples(st.integers(1, 20), st.lists(st.integers(0, 60), max_size=4)), max_size=40),
)
def test_open_ids_are_a_set(begin: int, steps: list[tuple[int, list[int]]]) -> None:
    """Whatever is added and settled in whatever order: membership, count and the first one are those of a set."""
    found, model, offset = Open(begin), set[int](), begin
    for gap, settled in steps:
        offset += gap
        found.add(offset)
        model.add(offset)
        chosen = [offset - back for back in settled]
        found.settle(chosen)
        model -= set(chosen)
        found.end = offset + 1
        assert found.first == min(model, default=offset + 1)
    assert found.count == len(model)
    assert {n for n in range(begin - 70, offset + 80) if n in found} == model
