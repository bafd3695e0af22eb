"""Dedupe: exact by (source, messageId) within a window of days of arrival."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from headwater import timestamps
from headwater.event import Drop, Event
from headwater.state.memory import MemoryState
from headwater.workspace.model import Dedupe
from processors import dedupe
from processors.chain import Step
from processors.dedupe import DAY_MS, Memory

TODAY = 20_000


def arriving(message_id: str, day: int = TODAY, source: str = "web", timestamp: str = "2001-01-01") -> Event:
    """An event that arrived on a day."""
    return Event(
        type="track",
        message_id=message_id,
        source_id=source,
        channel="server",
        received_at=timestamps.iso(day * DAY_MS + 43_200_000),
        timestamp=timestamp,
    )


def step_with(window: int = 7) -> tuple[Step, Memory, MemoryState]:
    """A dedupe step on an empty memory."""
    state = MemoryState()
    memory = Memory(state.seen)
    return dedupe.build(Dedupe(window_days=window), memory), memory, state


def flush(memory: Memory, state: MemoryState, window: int = 7) -> None:
    """Write behind, as the worker does."""
    horizon = memory.horizon(window, TODAY + 1000)
    state.commit(puts={}, seen=memory.drain().items(), folded={}, expire_before_day=horizon)


def test_a_second_copy_is_dropped_with_the_reason_duplicate() -> None:
    """Also in the same batch, before anything was written."""
    step, _, _ = step_with()
    first = arriving("a")
    assert step(first) is first
    assert step(arriving("a")) == Drop("duplicate")


def test_the_same_message_id_of_two_sources_is_two_events() -> None:
    """No source can suppress another's events, not even with a name that looks like a join of two."""
    step, _, _ = step_with()
    for source, message in (("web", "a"), ("api", "a"), ("web-a", "b"), ("web", "-ab"), ("web", "\0a")):
        assert isinstance(step(arriving(message, source=source)), Event)


def test_the_window_counts_days_of_arrival_and_not_of_the_event() -> None:
    """A retry whose timestamp says otherwise is found; a copy after the window passes and is remembered anew."""
    step, memory, state = step_with(window=7)
    step(arriving("a", TODAY, timestamp="2026-01-01T00:00:00.000Z"))
    flush(memory, state)
    assert isinstance(step(arriving("a", TODAY + 7, timestamp="1999-01-01T00:00:00.000Z")), Drop)
    assert isinstance(step(arriving("a", TODAY + 8)), Event)
    assert isinstance(step(arriving("a", TODAY + 15)), Drop)


def test_a_duplicate_does_not_prolong_the_memory() -> None:
    """The window begins with the copy that was let through."""
    step, _, _ = step_with(window=2)
    assert isinstance(step(arriving("a", TODAY)), Event)
    assert isinstance(step(arriving("a", TODAY + 2)), Drop)
    assert isinstance(step(arriving("a", TODAY + 3)), Event)


def test_a_backlog_is_compared_with_its_own_time() -> None:
    """Events processed a month late still find their first copies, though the calendar has moved on."""
    step, memory, state = step_with(window=7)
    step(arriving("a", TODAY - 30))
    flush(memory, state)
    assert isinstance(step(arriving("a", TODAY - 25)), Drop)


def test_a_wrong_clock_in_the_future_does_not_empty_the_memory() -> None:
    """The horizon never passes today."""
    _, memory, _ = step_with()
    memory.remember(dedupe.fingerprint("web", "a"), TODAY + 10_000)
    assert memory.horizon(7, TODAY) == TODAY - 8


YEARS = 3650


def test_a_leap_of_the_machines_clock_forgets_nothing() -> None:
    """While the clock is years ahead a copy of what came before is found; after it was put right, copies of both are."""
    step, memory, state = step_with(window=7)
    for day in range(TODAY - 20, TODAY + 1):
        step(arriving(f"m{day}", day))
        state.commit(
            puts={}, seen=memory.drain().items(), folded={}, expire_before_day=memory.horizon(7, day)
        )
    for ahead in (TODAY + YEARS, TODAY + YEARS + 2):
        assert isinstance(step(arriving("m20000", ahead)), Drop)
        assert isinstance(step(arriving(f"m{ahead - YEARS - 20}", ahead)), Event), "it had left the window"
        assert isinstance(step(arriving(f"new{ahead}", ahead)), Event)
        state.commit(
            puts={}, seen=memory.drain().items(), folded={}, expire_before_day=memory.horizon(7, ahead)
        )
    for known in ("m20000", "m19995", f"new{TODAY + YEARS}"):
        assert isinstance(step(arriving(known, TODAY + 1)), Drop)


def test_a_leap_is_known_for_one_after_a_restart() -> None:
    """The days are those of the state: a process started under the wrong clock does not believe it either."""
    step, memory, state = step_with(window=7)
    for day in (TODAY - 3, TODAY, TODAY + YEARS):
        step(arriving(f"m{day}", day))
    state.commit(puts={}, seen=memory.drain().items(), folded={})
    again = Memory(state.seen)
    assert again.horizon(7, TODAY + YEARS + 1) <= TODAY - 3
    assert isinstance(dedupe.build(Dedupe(), again)(arriving(f"m{TODAY}", TODAY + YEARS + 1)), Drop)


def test_the_memory_is_forgotten_day_by_day_as_days_with_arrivals_come() -> None:
    """It stays bounded: the window and one day for clocks that disagree, beside the newest one."""
    step, memory, state = step_with(window=2)
    for day in (*range(TODAY, TODAY + 6), TODAY + 100, TODAY + 110, TODAY + 111):
        step(arriving(f"m{day}", day))
        state.commit(
            puts={}, seen=memory.drain().items(), folded={}, expire_before_day=memory.horizon(2, day)
        )
        assert len(state.seen) <= 4
    assert len(state.seen) == 4
    assert memory.horizon(2, TODAY + 111) == TODAY + 5


@settings(max_examples=200, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(
            st.integers(0, 3),  # days since the arrival before
            st.integers(0, 1),  # a collector whose clock is up to a day behind
            st.sampled_from("abcd"),
            st.sampled_from(["web", "api"]),
            st.booleans(),  # write behind after this event
        ),
        max_size=60,
    ),
    window=st.integers(1, 5),
)
def test_dedupe_equals_a_naive_model(arrivals: list[tuple[int, int, str, str, bool]], window: int) -> None:
    """Whatever the order, the days and the moments of writing: the model is a dictionary that forgets nothing."""
    step, memory, state = step_with(window)
    let_through: dict[tuple[str, str], int] = {}
    day = TODAY
    for later, behind, message, source, write in arrivals:
        day += later
        arrived = day - behind
        known = let_through.get((source, message))
        expected = known is not None and known >= arrived - window
        assert isinstance(step(arriving(message, arrived, source)), Drop) == expected
        if not expected:
            let_through[source, message] = max(arrived, known or 0)
        if write:
            flush(memory, state, window)
