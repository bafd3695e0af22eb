"""Profile rows: the laws of merging, and what readers derive."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from headwater import profile
from headwater.profile import Account, Cause, Identity, Link, Membership, Row, Sent, User

TIMES = st.integers(1, 6)
VALUES = st.sampled_from([b"1", b"2", b"null", b'"x"', b'{"a":1}']).map(Raw)
TRAITS = st.dictionaries(st.sampled_from("abc"), st.tuples(VALUES, TIMES), max_size=3)
CAUSES = st.builds(Cause, st.sampled_from(["m1", "m2"]), st.just("identify"), TIMES)
USERS = st.builds(
    User, st.just("u"), TRAITS, TIMES, TIMES, st.dictionaries(st.sampled_from(["v", "w"]), CAUSES, max_size=2)
)
ACCOUNTS = st.builds(Account, st.just("g"), TRAITS, TRAITS, TIMES, TIMES)
MEMBERSHIPS = st.builds(
    Membership, st.just("g"), st.just("u"), st.integers(-1, 5), st.integers(-1, 5), st.integers(-1, 5),
    st.none() | st.tuples(VALUES, TIMES), st.none() | CAUSES,
)  # fmt: skip
LINKS = st.lists(
    st.builds(Link, st.sampled_from("uvw"), CAUSES, TIMES, st.booleans(), st.integers(-1, 6)), max_size=3
)
IDENTITIES = st.builds(
    lambda links, sent: profile.identity("a", {link.user_id: link for link in links}, sent),
    LINKS,
    st.dictionaries(st.sampled_from("ab"), st.builds(Sent, TIMES, st.integers(0, 2)), max_size=2),
)
TRIPLES = st.one_of(*(st.tuples(rows, rows, rows) for rows in (USERS, ACCOUNTS, MEMBERSHIPS, IDENTITIES)))


@given(TRIPLES)
def test_merging_is_commutative_associative_and_idempotent(rows: tuple[Row, Row, Row]) -> None:
    """Whatever the order, grouping or repetition, the same facts give the same bytes."""
    a, b, c = rows
    ab = profile.merge(a, b)
    assert profile.encode(ab) == profile.encode(profile.merge(b, a))
    assert profile.encode(profile.merge(ab, c)) == profile.encode(profile.merge(a, profile.merge(b, c)))
    assert profile.encode(profile.merge(ab, b)) == profile.encode(ab)


@given(TRIPLES)
def test_rows_survive_their_encoding(rows: tuple[Row, Row, Row]) -> None:
    """Decoding gives back an equal row with an equal key."""
    for row in rows:
        again = profile.decode(profile.encode(row))
        assert again == row
        assert profile.key_of(again) == profile.key_of(row)


def test_rows_of_two_kinds_do_not_merge() -> None:
    """Mixing kinds is a programming error, named."""
    with pytest.raises(TypeError, match="User and Account"):
        profile.merge(User(id="u"), Account(id="g"))


@given(st.text(max_size=8), st.text(max_size=8))
def test_membership_keys_give_back_their_ids(group: str, user: str) -> None:
    """Separators inside ids never make two memberships share a key."""
    assert profile.membership_ids(profile.membership_key(group, user)) == (group, user)


def test_a_name_is_derived_where_none_was_sent() -> None:
    """A first and a last name make the name; an explicit one wins; cleared traits are gone."""
    row = User(
        id="u",
        traits={
            "firstName": (Raw(b'"Ada"'), 1),
            "lastName": (Raw(b'"Lovelace"'), 1),
            "age": (Raw(b"null"), 2),
        },
    )
    assert (
        msgspec.json.encode(profile.user_values(row))
        == b'{"firstName":"Ada","lastName":"Lovelace","name":"Ada Lovelace"}'
    )
    row.traits["name"] = (Raw(b'"Countess"'), 1)
    assert bytes(profile.user_values(row)["name"]) == b'"Countess"'


def test_an_account_created_again_after_its_deletion_lives() -> None:
    """The newer of created and deleted decides."""
    row = Account(id="g", facts={"created": (Raw(b'"x"'), 1), "deleted": (Raw(b'"y"'), 2)})
    assert profile.account_status(row) == "deleted"
    row.facts["created"] = (Raw(b'"z"'), 3)
    assert profile.account_status(row) == "active"


def test_late_events_stay_with_the_earlier_owner_of_the_id() -> None:
    """Of two users behind one id, each owns the events of its time."""
    first, second = Cause("m1", "identify", 10), Cause("m2", "identify", 20)
    row: Identity = profile.identity(
        "a", {"u": Link("u", first, 10, explicit=True), "v": Link("v", second, 20, explicit=True)}
    )
    assert [profile.user_at(row, time) for time in (5, 15, 25)] == ["u", "u", "v"]
    assert (row.user_id, row.conflict) == ("v", True)
