"""The processors' local copy of the profiles: reading through, draining, and agreeing with others."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from headwater import profile
from headwater.errors import SchemaMismatch
from headwater.profile import Cause, Link, Membership, User
from processors.profiles import Recent
from tests.unit.processors.tables import Store

CAUSE = Cause("m", "identify", 5)


def user(value: str, time: int, name: str = "plan") -> User:
    """A user with one trait."""
    return User(id="u", traits={name: (Raw(f'"{value}"'.encode()), time)}, first_seen=time, last_seen=time)


def test_a_fact_that_changes_nothing_makes_no_record() -> None:
    """Only real changes go out; several changes of one key in a batch are one record."""
    profiles = Store().profiles()
    assert profiles.learn(user("free", 1))
    assert profiles.learn(user("pro", 2))
    records = profiles.drain_records()
    assert [record.key for record in records] == [b"user:u"]
    assert not profiles.learn(user("pro", 2))
    assert not profiles.learn(user("old", 1))
    assert profiles.drain_records() == []


def test_changes_stay_readable_while_they_are_being_stored() -> None:
    """With no room in the cache, rows are found in the changes, in the drained changes, and in the store."""
    store = Store()
    profiles = store.profiles(cache_rows=1)
    for number in range(5):
        profiles.learn(User(id=f"u{number}", first_seen=1))
        profiles.learn(Membership(f"g{number}", "u0", 1, 1, cause=CAUSE))
    puts = profiles.drain_puts()
    assert all(profiles.user(f"u{number}") for number in range(5))
    assert len(profiles.memberships("u0")) == 5
    for name, rows in puts.items():
        store.tables[name].rows.update({key: value for key, value in rows.items() if value is not None})
    assert profiles.drain_puts() == {}
    assert all(profiles.user(f"u{number}") for number in range(5))
    assert len(profiles.memberships("u0")) == 5
    assert profiles.user("nobody") is None


def test_the_state_is_the_fold_of_the_records() -> None:
    """A processor that only reads the topic ends with the tables of the one that wrote it."""
    writer, reader = Store(), Store()
    wrote, read = writer.profiles(), reader.profiles()
    wrote.learn(user("free", 1))
    wrote.learn(profile.identity("a", {"u": Link("u", CAUSE, 5, explicit=True)}))
    wrote.learn(Membership("g", "u", 1, 1, cause=CAUSE))
    for record in wrote.drain_records():
        read.fold(record.key or b"", record.value)
    assert read.drain_records() == []
    writer.commit(wrote)
    reader.commit(read)
    assert {name: table.rows for name, table in writer.tables.items()} == {
        name: table.rows for name, table in reader.tables.items()
    }


def test_our_own_records_coming_back_are_not_answered() -> None:
    """An older record of ours, read after we learned more, starts no echo."""
    profiles = Store().profiles()
    profiles.learn(user("free", 1))
    first = profiles.drain_records()
    profiles.learn(user("pro", 2))
    profiles.drain_records()
    profiles.fold(first[0].key or b"", first[0].value)
    assert profiles.drain_records() == []


def test_a_pending_answer_is_withdrawn_when_somebody_else_gave_it() -> None:
    """Reading the merge that we were about to publish leaves nothing to say."""
    profiles = Store().profiles()
    profiles.learn(user("pro", 2))
    profiles.drain_records()
    loser = user("x", 1, "other")
    profiles.fold(b"user:u", profile.encode(loser))
    merged = profile.encode(profile.merge(user("pro", 2), loser))
    profiles.fold(b"user:u", merged)
    assert profiles.drain_records() == []


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(1, 9)), max_size=12))
def test_several_processors_converge_without_ping_pong(facts: list[tuple[int, str, int]]) -> None:
    """However facts are spread, the last record of the key holds everything, all agree, and the talk ends."""
    processors = [Store().profiles() for _ in range(3)]
    positions, topic = [0, 0, 0], []
    for owner, name, time in facts:
        processors[owner].learn(user(f"{owner}-{time}", time, name))
        topic += processors[owner].drain_records()
    rounds = 0
    while any(position < len(topic) for position in positions):
        rounds += 1
        assert rounds < 20
        for number, processor in enumerate(processors):
            for record in topic[positions[number] :]:
                processor.fold(record.key or b"", record.value)
            positions[number] = len(topic)
            topic += processor.drain_records()
    rows = [processor.user("u") for processor in processors]
    assert rows[0] == rows[1] == rows[2]
    if topic and rows[0] is not None:
        assert topic[-1].value == profile.encode(rows[0])


def test_a_deleted_row_is_forgotten_everywhere() -> None:
    """A record without value deletes the row of its key, whatever its kind."""
    store = Store()
    profiles = store.profiles()
    profiles.learn(user("free", 1))
    profiles.learn(Membership("g", "u", 1, 1, cause=CAUSE))
    profiles.learn(profile.identity("a", {"u": Link("u", CAUSE, 5)}))
    keys = [record.key or b"" for record in profiles.drain_records()]
    store.commit(profiles)
    for key in keys:
        profiles.fold(key, None)
    assert (profiles.user("u"), profiles.identity("a"), profiles.memberships("u")) == (None, None, {})
    store.commit(profiles)
    assert all(not table.rows for table in store.tables.values())


def test_long_and_strange_ids_keep_apart() -> None:
    """Ids longer than a store's keys, or holding the separator, neither collide nor match as prefixes."""
    store = Store()
    profiles = store.profiles(cache_rows=1)
    ids = ["x" * 500, "x" * 499 + "y", "x" * 500 + "\x1f", "é" * 400, "u", "u\x1fg"]
    for number, name in enumerate(ids):
        profiles.learn(User(id=name, first_seen=number + 1))
        profiles.learn(Membership(name, name, number, number, cause=CAUSE))
    store.commit(profiles)
    fresh = store.profiles()
    assert [found.first_seen for name in ids if (found := fresh.user(name))] == [1, 2, 3, 4, 5, 6]
    assert [list(fresh.memberships(name)) for name in ids] == [[name] for name in ids]
    assert all(len(key) < 500 for table in store.tables.values() for key in table.rows)


def test_an_undone_link_falls_back_to_the_one_before() -> None:
    """Unlinking voids the evidence so far; newer evidence counts again; what is unknown cannot be undone."""
    profiles = Store().profiles()
    for name, time in (("u", 10), ("v", 20)):
        why = Cause(f"m-{name}", "identify", time)
        profiles.learn(profile.identity("a", {name: Link(name, why, time, explicit=True)}))
    assert profiles.unlink("a", "v", 30)
    assert not profiles.unlink("a", "v", 30)
    assert not profiles.unlink("a", "nobody", 30)
    row = profiles.identity("a")
    assert row is not None
    assert (row.user_id, row.conflict) == ("u", False)
    profiles.learn(profile.identity("a", {"v": Link("v", Cause("again", "identify", 40), 40, explicit=True)}))
    row = profiles.identity("a")
    assert row is not None
    assert row.user_id == "v"


@pytest.mark.parametrize(
    "value", [b"\xff", b"[]", b'{"kind":"user","id":"\xff"}', b'{"kind":"user","id":' + b"[" * 200_000]
)
def test_a_row_that_cannot_be_read_says_what_to_do(value: bytes) -> None:
    """Whatever the decoder raises for it: going on would write the row again without what it says."""
    with pytest.raises(SchemaMismatch, match="Run the newest version"):
        Store().profiles().fold(b"user:u", value)


def test_a_cache_holds_at_most_two_halves() -> None:
    """What is asked for is kept, what is not is forgotten first; reading never makes a cache larger than it may be."""
    cache: Recent[int] = Recent(3)
    for number in range(4):
        cache.put(str(number), number)
    assert [cache.get(str(number)) for number in (0, 9)] == [0, None]
    for number in range(4, 6):
        cache.put(str(number), number)
    assert [cache.get(str(number)) for number in range(6)] == [0, None, None, 3, 4, 5]
    cache.drop("0")
    cache.drop("4")
    assert [cache.get(str(number)) for number in range(6)] == [None, None, None, 3, None, 5]
    for number in range(100):
        cache.put(str(number), number)
        found = [cache.get(str(before)) for before in range(number + 1)]
        assert found[number] == number
        assert len(cache) <= 6


def test_a_lookup_outlives_its_cache() -> None:
    """Nobody should keep one, yet it answers from what it has."""
    cache: Recent[int] = Recent(1)
    cache.put("a", 1)
    cache.put("b", 2)
    get = cache.get
    del cache
    assert [get("a"), get("b"), get("c")] == [1, 2, None]


def test_a_cache_that_is_let_go_of_is_free_at_once() -> None:
    """The cycle collector runs rarely in a processor, and a partition that is taken away leaves a hundred thousand rows."""

    class Row:
        """Something that a weak reference can point at."""

    rows = [Row(), Row(), Row()]
    cache: Recent[Row] = Recent(2)
    for number, row in enumerate(rows):
        cache.put(str(number), row)
    assert [cache.get(str(number)) for number in range(3)] == rows
    alive = [weakref.ref(row) for row in rows]
    gc.disable()
    try:
        del cache, rows, row
        assert [one() for one in alive] == [None] * 3
    finally:
        gc.enable()
