"""What every state store promises: tables, the seen table and folded offsets, committed together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.log.protocol import TopicPartition
from headwater.state.lmdb import open_state
from headwater.state.memory import MemoryState
from headwater.state.protocol import FINGERPRINT_BYTES, StateStore

TP = TopicPartition("events.processed", 0)
OTHER = TopicPartition("profiles", 3)
Make = Callable[[], StateStore]


@pytest.fixture(params=["memory", "lmdb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes stores of one kind, each empty, and closes them."""
    made: list[StateStore] = []

    def one() -> StateStore:
        store: StateStore = (
            MemoryState() if request.param == "memory" else open_state(tmp_path / str(len(made)), sync=False)
        )
        made.append(store)
        return store

    yield one
    for store in made:
        store.close()


def print_of(n: int) -> bytes:
    """A fingerprint."""
    return n.to_bytes(1, "big") + (n * 0x9E3779B97F4A7C15 % 2**72).to_bytes(FINGERPRINT_BYTES - 1, "big")


def test_a_fresh_store_has_folded_nothing(make: Make) -> None:
    """Everything starts at offset 0, empty."""
    store = make()
    assert store.folded(TP) == 0
    assert store.table("users").get(b"a") is None
    assert list(store.table("users").items()) == []
    assert len(store.seen) == 0
    assert not store.seen.has(print_of(1), 0)


def test_values_are_put_replaced_and_deleted(make: Make) -> None:
    """A put replaces, None deletes, deleting what is not there is no error."""
    store = make()
    store.commit(puts={"users": {b"a": b"1", b"b": b"2"}}, seen=(), folded={})
    store.commit(puts={"users": {b"a": b"3", b"b": None, b"c": None}}, seen=(), folded={})
    assert list(store.table("users").items()) == [(b"a", b"3")]
    assert store.table("users").get(b"b") is None


def test_tables_do_not_mix(make: Make) -> None:
    """The same key in two tables is two keys."""
    store = make()
    store.commit(puts={"users": {b"a": b"1"}, "links": {b"a": b"2"}}, seen=(), folded={})
    assert (store.table("users").get(b"a"), store.table("links").get(b"a")) == (b"1", b"2")


def test_a_table_object_sees_later_commits(make: Make) -> None:
    """Processors take their tables once and keep them."""
    store = make()
    users, links = store.table("users"), store.table("links")
    store.commit(puts={"users": {b"a": b"1"}}, seen=(), folded={})
    assert users.get(b"a") == b"1"
    store.commit(puts={"links": {b"b": b"2"}}, seen=(), folded={})
    assert links.get(b"b") == b"2"


def test_items_are_ordered_and_cut_to_the_prefix(make: Make) -> None:
    """A prefix selects a contiguous, ordered range, also at the end of the key space."""
    store = make()
    keys = [b"", b"a", b"a\x00", b"ab", b"b", b"\xff", b"\xff\xff"][1:]
    store.commit(puts={"t": dict.fromkeys(reversed(keys), b"v")}, seen=(), folded={})
    assert [key for key, _ in store.table("t").items()] == keys
    assert [key for key, _ in store.table("t").items(b"a")] == [b"a", b"a\x00", b"ab"]
    assert [key for key, _ in store.table("t").items(b"\xff")] == [b"\xff", b"\xff\xff"]
    assert list(store.table("t").items(b"zz")) == []


def test_folded_offsets_are_kept_per_partition(make: Make) -> None:
    """Each partition has its own offset; a commit changes only those it names."""
    store = make()
    store.commit(puts={}, seen=(), folded={TP: 7, OTHER: 2**40})
    store.commit(puts={}, seen=(), folded={TP: 9})
    assert (store.folded(TP), store.folded(OTHER)) == (9, 2**40)


def test_a_fingerprint_is_seen_from_its_day_on(make: Make) -> None:
    """`since_day` is inclusive."""
    store = make()
    store.commit(puts={}, seen=[(print_of(1), 100)], folded={})
    assert store.seen.has(print_of(1), 100)
    assert not store.seen.has(print_of(1), 101)
    assert store.seen.contains([print_of(1), print_of(2)], 99) == [True, False]
    assert len(store.seen) == 1
    assert store.seen.days() == {100}


def test_the_later_of_two_days_counts(make: Make) -> None:
    """A fingerprint let through again after its window is remembered from then on."""
    store = make()
    store.commit(puts={}, seen=[(print_of(1), 100)], folded={})
    store.commit(puts={}, seen=[(print_of(1), 120)], folded={})
    assert store.seen.has(print_of(1), 120)


def test_expired_days_are_forgotten_in_the_end(make: Make) -> None:
    """The sweep may take some commits, but it removes every old day and nothing else."""
    store = make()
    store.commit(puts={}, seen=[(print_of(n), 100 + n % 2) for n in range(200)], folded={})
    for _ in range(64):
        store.commit(puts={}, seen=(), folded={}, expire_before_day=101)
    assert len(store.seen) == 100
    assert store.seen.days() == {101}
    assert store.seen.contains([print_of(n) for n in range(200)], 0) == [n % 2 == 1 for n in range(200)]


keys = st.binary(min_size=1, max_size=6)
days = st.integers(min_value=90, max_value=99)
commits = st.lists(
    st.tuples(
        st.dictionaries(keys, st.none() | st.binary(max_size=6), max_size=4),
        st.lists(st.tuples(st.integers(0, 40).map(print_of), days), max_size=12),
    ),
    max_size=24,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=commits)
def test_any_sequence_of_commits_reads_back_as_a_dictionary_would(
    make: Make, commits: list[tuple[dict[bytes, bytes | None], list[tuple[bytes, int]]]]
) -> None:
    """Tables and seen equal plain dictionaries after every commit, whatever is merged inside."""
    store = make()
    values: dict[bytes, bytes] = {}
    latest: dict[bytes, int] = {}
    for puts, seen in commits:
        store.commit(puts={"t": puts}, seen=seen, folded={})
        for key, value in puts.items():
            values.pop(key, None)
            if value is not None:
                values[key] = value
        for key, day in seen:
            latest[key] = max(day, latest.get(key, 0))
        assert list(store.table("t").items()) == sorted(values.items())
        for since in (90, 95, 99):
            probes = [print_of(n) for n in range(42)]
            assert store.seen.contains(probes, since) == [latest.get(key, 0) >= since for key in probes]


def test_many_fingerprints_over_many_days_are_found_again(make: Make) -> None:
    """Enough commits to merge runs several levels deep; no fingerprint is lost and no other is found."""
    store = make()
    known = [(os.urandom(FINGERPRINT_BYTES), 100 + n // 4000) for n in range(20_000)]
    for at in range(0, len(known), 250):
        store.commit(puts={}, seen=known[at : at + 250], folded={})
    assert len(store.seen) == len(known)
    assert all(store.seen.has(key, day) and not store.seen.has(key, day + 1) for key, day in known)
    assert not any(store.seen.has(os.urandom(FINGERPRINT_BYTES), 0) for _ in range(20_000))
