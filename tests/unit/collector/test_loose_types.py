"""Types that some languages cannot help: PHP's empty arrays, and ids and times that are numbers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from collector import items
from collector.items import Item
from tests.unit.collector.judging import GOOD, ITEMS, outcome

WRITTEN = [
    "userId",
    "anonymousId",
    "groupId",
    "previousId",
    "messageId",
    "timestamp",
    "sentAt",
    "originalTimestamp",
]
NUMBERS = st.integers(-(10**30), 10**30) | st.floats() | st.none() | st.text(max_size=9) | st.booleans()


@pytest.mark.parametrize("name", ["properties", "traits", "context", "integrations"])
def test_an_empty_array_is_an_empty_object(name: str) -> None:
    """As PHP writes it; the event goes on with an object, everything else of it as it came."""
    body = {name: [], **GOOD, "extra": [[], {"a": []}], "timestamp": 1_750_000_000}
    (found,) = outcome({"batch": [body]}).accepted
    assert found.body is not None
    assert json.loads(bytes(found.body)) == {**body, name: {}}
    (single,) = outcome(body, "track").accepted
    assert single.body == found.body


def test_every_empty_array_of_an_event_is_mended() -> None:
    """`array()` for whatever was not needed."""
    body = {**GOOD, "userId": 7, "properties": [], "integrations": [], "context": []}
    (found,) = outcome({"batch": [body]}).accepted
    assert found.user_id == "7"
    assert json.loads(bytes(found.body or b"")) == {
        **body,
        "properties": {},
        "integrations": {},
        "context": {},
    }


@pytest.mark.parametrize("value", [[1], "[]", [[]], 0, False])
def test_other_values_are_no_objects(value: object) -> None:
    """A list with something in it is a mistake that nobody can undo."""
    (rejected,) = outcome({"batch": [{**GOOD, "integrations": [], "properties": value}]}).rejected
    assert rejected.code == "properties_not_object"


def read_both_ways(raw: Raw) -> None:
    """Where `numbered` reads an item, `diagnose` reads the same."""
    item = items.numbered(raw)
    if item is not None:
        assert items.diagnose(bytes(raw), 0) == item


@given(ITEMS)
def test_numbers_are_read_as_the_lenient_way_reads_them(item: Any) -> None:
    """Any item."""
    read_both_ways(Raw(json.dumps(item).encode()))


@given(
    st.dictionaries(st.sampled_from(WRITTEN), NUMBERS),
    st.sampled_from([{}, {"direct": True}, {"direct": 1e308}]),
)
def test_numbers_of_every_size_are_read_as_the_lenient_way_reads_them(
    fields: dict[str, Any], context: dict[str, Any]
) -> None:
    """Also those beyond 64 bits and beyond any double, which json writes as Infinity and nobody reads."""
    text = json.dumps({**GOOD, **fields, "context": context})
    try:
        msgspec.json.decode(text, type=Item)
    except msgspec.DecodeError:
        read_both_ways(Raw(text.encode()))


def test_a_number_is_an_id() -> None:
    """The usual case of PHP, by its own way."""
    item = items.numbered(Raw(b'{"type":"track","event":"x","userId":12345,"timestamp":1750000000.5}'))
    assert item == Item(type="track", event="x", user_id="12345", timestamp="2025-06-15T15:06:40.500Z")
    assert items.numbered(Raw(b'{"type":"track","event":"x","userId":true}')) is None


def test_a_batch_that_shares_nothing_repeats_nothing() -> None:
    """Empty objects beside `batch` are not written beside each event."""
    (found,) = outcome({"batch": [{**GOOD, "groupId": "g"}], "context": {}, "integrations": {}}).accepted
    assert found.batch_context is None
    assert found.batch_integrations is None
