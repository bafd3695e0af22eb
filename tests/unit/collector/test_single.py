"""A request that is one event is decoded once, for its write key and for itself."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from collector import items
from collector.accept import Call, accept, decode
from headwater.event import EVENT_TYPES
from tests.unit.collector.judging import GOOD, ITEMS, NOW

KINDS = st.sampled_from(sorted(EVENT_TYPES))


@given(ITEMS | ITEMS.map(lambda item: {**GOOD, **item} if isinstance(item, dict) else item), KINDS)
def test_it_becomes_what_it_becomes_when_it_is_decoded_twice(item: Any, kind: str) -> None:
    """The same event, or refused for the same reason, whatever its fields hold."""
    envelope = decode(orjson.dumps(item, option=orjson.OPT_SORT_KEYS), batch=False)
    if isinstance(envelope, str):
        assert not isinstance(item, dict)
        return
    call = Call("src", "browser", kind, NOW, True, "192.0.2.1", "agent")
    once = accept(envelope, call, lambda _: "new")
    twice = accept(envelope._replace(item=None), call, lambda _: "new")
    assert asdict(once) == asdict(twice)
    assert envelope.write_key == item.get("writeKey")


@pytest.mark.parametrize("key", ["wk", None, 7, {"a": [1]}])
def test_any_key_is_found_beside_a_usual_event(key: object) -> None:
    """A key of another type than a string is none; it is for `auth.write_key` to say so."""
    envelope = decode(orjson.dumps({**GOOD, "writeKey": key}), batch=False)
    assert not isinstance(envelope, str)
    assert isinstance(envelope.item, items.Single)
    assert envelope.write_key == key


def test_the_key_is_found_beside_an_event_of_the_wrong_types() -> None:
    """Such an event is refused by itself, for its source, and not as one without a key."""
    envelope = decode(orjson.dumps({**GOOD, "properties": [], "writeKey": "wk"}), batch=False)
    assert not isinstance(envelope, str)
    assert (envelope.item, envelope.write_key) == (None, "wk")
