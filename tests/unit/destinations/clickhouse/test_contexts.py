"""Contexts decoded into fields have the cells and the further values of contexts decoded as objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from destinations.clickhouse.columns import CONTEXT
from destinations.clickhouse.contexts import MAX_LEARNED, Contexts, columns_of
from destinations.clickhouse.shapes import Shape, Shapes

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4) | st.sampled_from(["true", "1.5", "é"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
KEY = st.sampled_from(["id", "status", "inferred", "x-y", "class", "é", "", "k"])
CONTEXT_OBJECT = st.fixed_dictionaries(
    {},
    optional={column.path[0]: VALUE for column in CONTEXT}
    | {
        key: st.dictionaries(KEY | st.sampled_from([c.path[-1] for c in CONTEXT if c.path[0] == key]), VALUE)
        for key in ("account", "bot", "page", "screen", "network")
    }
    | {"sessionId": VALUE, "traits": VALUE, "x-y": VALUE, "": VALUE},
)

UNTAUGHT = Contexts(Shapes())


def raw(context: dict[str, Any]) -> Raw:
    """As it stands in a line."""
    return Raw(json.dumps(context).encode())


def paths(found: tuple[Struct, Shape | None]) -> set[tuple[Any, ...]]:
    """What is known of the values that have no column."""
    return set() if found[1] is None else set(found[1].kinds())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CONTEXT_OBJECT, min_size=1, max_size=8))
def test_fields_equal_objects(contexts: list[dict[str, Any]]) -> None:
    """Whatever was seen before, cells and further values are those of the decoded object; a second reading says the same."""
    reader = Contexts(Shapes())
    expected = [UNTAUGHT.of(context) for context in contexts]
    for _ in range(2):
        found = [reader.read(raw(context)) for context in contexts]
        assert list(map(paths, found)) == list(map(paths, expected))
        together = columns_of([context for context, _ in found])
        for number, (one, _) in enumerate(expected):
            alone = {name: cells[0] for name, cells in columns_of([one]).items() if cells[0] is not None}
            assert {n: c[number] for n, c in together.items() if c[number] is not None} == alone


def test_keys_that_were_seen_get_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second context with them is decoded straight into a struct, and their types are told all the same."""
    reader = Contexts(Shapes())
    given = {"ip": "::1", "sessionId": 5, "x-y.é z": True, "account": {"name": "Acme", "status": "active"}}
    reader.read(raw(given))
    assert reader._known.learned == (("sessionId",), ("x-y.é z",), ("account", "status"))
    monkeypatch.setattr(reader._known, "of", None)  # the slow way would fail
    found = reader.read(raw(given))
    assert paths(found) == {
        (("sessionId",), "number"), (("x-y.é z",), "bool"), (("account", "status"), "string"),
    }  # fmt: skip
    found = reader.read(raw({"sessionId": {"id": "a"}, "account": {}}))
    assert paths(found) == {(("sessionId", "id"), "string")}
    assert paths(reader.read(raw({"ip": "::1"}))) == set()


def test_hostile_keys_are_bounded() -> None:
    """A thousand different keys do not make a struct of a thousand fields, and none of them is overlooked."""
    reader = Contexts(Shapes())
    for number in range(1_000):
        assert paths(reader.read(raw({f"k{number}": "v"}))) == {((f"k{number}",), "string")}
    assert len(reader._known.learned) == MAX_LEARNED


@pytest.mark.parametrize("text", [b'{"ip":"\xff"}', b'{"other":"\xff"}', b'{"\xff":1}', b'{"a":{"\xff":1}}'])
def test_a_context_that_is_read_is_valid_text(text: bytes) -> None:
    """The raw bytes become a text column, so broken ones must not pass, under whatever key."""
    reader = Contexts(Shapes())
    reader.read(raw({"other": 1, "a": 1}))
    with pytest.raises((ValueError, UnicodeDecodeError)):
        reader.read(Raw(text))
