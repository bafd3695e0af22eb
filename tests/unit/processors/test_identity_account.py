"""Identity and account beyond the golden cases: order, limits, restarts, and what is said only once."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from headwater import timestamps
from headwater.event import Event
from headwater.workspace.model import Account, Identity
from processors import account, facts, identity
from processors.chain import Step
from processors.profiles import Profiles
from tests.unit.processors.tables import Store

HOUR = 3_600_000
FACTS = st.lists(
    st.tuples(
        st.sampled_from(["identify", "group", "Account Removed User"]),
        st.sampled_from("uv"),
        st.sampled_from("xyz"),
    ),
    max_size=6,
)


def event(kind: str, time: int = 1000, *, received: int | None = None, **fields: Any) -> Event:
    """An event of a time in ms; track events are named by `kind`."""
    is_call = kind in ("identify", "group", "alias", "page")
    for name in ("traits", "properties", "context"):
        if name in fields:
            fields[name] = Raw(msgspec.json.encode(fields[name]))
    return Event(
        type=kind if is_call else "track", event=None if is_call else kind, message_id=f"m{time}", source_id="web",
        channel="browser", timestamp=timestamps.iso(time),
        received_at=timestamps.iso(time if received is None else received), **fields,
    )  # fmt: skip


def chain(profiles: Profiles) -> Step:
    """Identity, then account."""
    first, second = identity.build(Identity(), profiles), account.build(Account(), profiles)

    def step(given: Event) -> Event:
        resolved = first(given)
        assert isinstance(resolved, Event)
        joined = second(resolved)
        assert isinstance(joined, Event)
        return joined

    return step


def rows(profiles: Profiles) -> dict[bytes, bytes]:
    """Everything published since the last look."""
    return {record.key or b"": record.value or b"" for record in profiles.drain_records()}


def _without_seen(value: bytes) -> bytes:
    """A user's firstSeen and lastSeen count from when the user became known, so they depend on the order."""
    row = msgspec.json.decode(value)
    row.pop("firstSeen", None)
    row.pop("lastSeen", None)
    return msgspec.json.encode(row)


@given(FACTS, st.randoms(use_true_random=False))
def test_facts_of_different_hours_may_arrive_in_any_order(
    found: list[tuple[str, str, str]], random: Any
) -> None:
    """Traits, links and memberships come out the same, however the history is shuffled."""

    def told(order: list[int]) -> dict[bytes, bytes]:
        profiles = Store().profiles()
        step = chain(profiles)
        for at in order:
            kind, user, value = found[at]
            fields: dict[str, Any] = {"traits": {"plan": value}} if kind != "Account Removed User" else {}
            if kind == "identify":
                fields["anonymous_id"] = "anon-1"
            if kind == "group":
                fields["group_id"] = "acme"
            step(event(kind, (at + 1) * HOUR, user_id=user, context={"groupId": "acme"}, **fields))
        return {key: _without_seen(value) for key, value in rows(profiles).items()}

    order = list(range(len(found)))
    shuffled = order[:]
    random.shuffle(shuffled)
    assert told(shuffled) == told(order)


def test_a_clock_that_is_ahead_owns_nothing_for_longer() -> None:
    """A fact is never newer than its arrival."""
    profiles = Store().profiles()
    step = chain(profiles)
    step(event("identify", 10**12, received=5000, user_id="u", traits={"plan": "future"}))
    step(event("identify", 6000, user_id="u", traits={"plan": "now"}))
    row = profiles.user("u")
    assert row is not None
    assert row.traits["plan"] == (Raw(b'"now"'), 6000)


def test_repeating_oneself_costs_no_records() -> None:
    """Clients that identify and group on every page write once an hour."""
    profiles = Store().profiles()
    step = chain(profiles)

    def page(time: int) -> int:
        step(event("identify", time, user_id="u", anonymous_id="a", traits={"plan": "x"}))
        step(event("group", time, user_id="u", anonymous_id="a", group_id="g", traits={"n": [1]}))
        step(event("page", time, user_id="u", anonymous_id="a"))
        return len(profiles.drain_records())

    assert [page(HOUR), page(HOUR + 1000), page(2 * HOUR - 1), page(3 * HOUR)] == [4, 0, 0, 4]


def test_placeholders_are_nobody() -> None:
    """`null`, zeros and the like link nothing and make no rows."""
    profiles = Store().profiles()
    step = chain(profiles)
    for name in ("null", "00000000-0000-0000-0000-000000000000", "undefined", " ", "-1", "Anonymous"):
        step(event("identify", user_id=name, anonymous_id="a", traits={"x": 1}))
        step(event("identify", user_id="u", anonymous_id=name))
        step(event("group", user_id="u", group_id=name))
    assert set(rows(profiles)) == {b"user:u"}


def test_an_id_behind_which_everybody_is_belongs_to_nobody() -> None:
    """A kiosk or a constant stops being resolved; later users are not added without end."""
    profiles = Store().profiles()
    step = chain(profiles)
    for number in range(identity.MAX_USERS + 1):
        last = step(event("identify", 1000 + number, user_id=f"u{number}", anonymous_id="kiosk"))
    assert isinstance(last, Event)
    assert last.flags == ["identity_link_limit"]
    row = profiles.identity("kiosk")
    assert row is not None
    assert len(row.links) == identity.MAX_USERS
    assert step(event("Clicked", 9000, anonymous_id="kiosk")).user_id is None  # type: ignore[union-attr]


def test_an_ordinary_event_links_only_what_is_unknown() -> None:
    """Both ids on a track are weaker than any identify, before or after it."""
    profiles = Store().profiles()
    step = chain(profiles)
    step(event("Clicked", 1000, user_id="u", anonymous_id="a"))
    assert step(event("Clicked", 1500, anonymous_id="a")).user_id == "u"  # type: ignore[union-attr]
    step(event("identify", 2000, user_id="v", anonymous_id="a"))
    step(event("Clicked", 3000, user_id="u", anonymous_id="a"))
    assert step(event("Clicked", 4000, anonymous_id="a")).user_id == "v"  # type: ignore[union-attr]


def test_traits_beyond_the_limit_are_flagged() -> None:
    """A row cannot grow without end, and nothing is lost silently."""
    profiles = Store().profiles()
    sent = event("identify", user_id="u", traits={f"t{number}": 1 for number in range(facts.MAX_TRAITS + 1)})
    chain(profiles)(sent)
    row = profiles.user("u")
    assert row is not None
    assert len(row.traits) == facts.MAX_TRAITS
    assert sent.flags == ["traits_over_limit"]


def test_a_restart_remembers() -> None:
    """Links, users, accounts and memberships are read back from the store."""
    store = Store()
    profiles = store.profiles()
    step = chain(profiles)
    step(event("identify", 1000, user_id="u", anonymous_id="a"))
    step(event("group", 1000, user_id="u", group_id="g", traits={"name": "Acme"}))
    store.commit(profiles)
    later = chain(store.profiles())(event("Clicked", 2000, anonymous_id="a"))
    assert isinstance(later, Event)
    assert later.user_id == "u"
    assert msgspec.json.decode(later.context) == {
        "identity": {"resolved": True, "cause": "m1000"},
        "groupId": "g",
        "account": {"id": "g", "inferred": True, "name": "Acme"},
    }


def test_a_switched_off_processor_changes_nothing() -> None:
    """Neither learns nor stamps."""
    profiles = Store().profiles()
    sent = event("identify", user_id="u", anonymous_id="a", traits={"x": 1})
    before = bytes(sent.context)
    for step in (
        identity.build(Identity(enabled=False), profiles),
        account.build(Account(enabled=False), profiles),
    ):
        assert step(sent) is sent
    assert bytes(sent.context) == before
    assert profiles.drain_records() == []


def test_traits_are_kept_compact() -> None:
    """White space that one client writes and another does not is no change of the value."""
    assert bytes(facts.own(Raw(b'{"c" : [1, 2]}'))) == b'{"c":[1,2]}'
    assert bytes(facts.own(Raw(b'"a b"'))) == b'"a b"'
