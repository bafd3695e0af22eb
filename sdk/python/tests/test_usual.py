"""The short way of a usual call gives what the long way gives, byte for byte, whatever an app passes."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import sys
import uuid
from typing import Any, Callable, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_sdk import _calls, bind
from headwater_sdk._calls import Calls
from headwater_sdk._client import Client
from headwater_sdk._usual import usual

KINDS = ("track", "identify", "alias", "group", "page", "screen")


class Taken(Client):
    """A client that keeps what it would queue, refuse and warn of; its ids and time are always the same."""

    def __init__(self) -> None:
        super().__init__("wk", "http://localhost:1")
        self._new_id, self._wall = (lambda: "m1"), (lambda: 1_767_323_045.678)
        self.taken: list[Any] = []

    def _put(self, event: bytes) -> bool:
        self.taken.append(event)
        return True

    def _note_refused(self, message: Any, code: str, why: str) -> None:
        self.taken.append((code, why))

    def _warn(self, texts: list[str]) -> None:
        self.taken.append(texts)


class Tag(str, enum.Enum):
    """A text that is more than `str`."""

    NEW = "new"


class Opaque:
    """Something that JSON has no form for, and neither has the SDK."""

    def __str__(self) -> str:
        return "opaque"


@dataclasses.dataclass
class Item:
    """Something that the SDK has a form for."""

    price: decimal.Decimal


def the_long_way(*_: Any) -> Optional[bytes]:
    """Say of every call that it is not usual."""
    return None


def outcome(way: Callable[..., Optional[bytes]], kind: str, arguments: dict[str, Any]) -> Any:
    """Return the call's result, what was queued or refused, and the order of the message's keys."""
    client = Taken()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_calls, "usual", way)
        ok, message = getattr(client, kind)(**arguments)
    return ok, message, list(message), client.taken


texts = (
    st.text()
    | st.text(st.characters(), max_size=3)
    | st.sampled_from(["user-1", "\ud83d", 'a"\\\n', "\u2028\x7f", "é"])
)
odd = st.sampled_from(
    [
        None, "", 0, 7, 2.5, True, -0.0, 1e22, float("nan"), float("-inf"), 10**30, 2**63, b"b", b"\xff", (1, "x"),
        decimal.Decimal("19.99"), dt.datetime(2026, 1, 2), dt.date(2026, 1, 2), uuid.UUID(int=1), Tag.NEW, Item(decimal.Decimal(2)),
        Opaque(), {1, 2}, collections.OrderedDict(a=1), range(2), object, Ellipsis,
    ]
)  # fmt: skip
keys = texts | st.sampled_from(
    [1, 2.5, None, True, (1, 2), Tag.NEW, "library", "groupId", dt.date(2026, 1, 2)]
)
too_long = st.builds(lambda: 10**5_000)  # Python refuses to print it
values = st.recursive(
    odd | too_long | texts | st.integers() | st.floats() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
ids = texts | st.sampled_from(["user-1"]) | odd
objects = (
    st.dictionaries(keys, values, max_size=5) | st.dictionaries(texts, texts, max_size=3) | st.none() | odd
)
options = st.fixed_dictionaries(
    {},
    optional={
        "context": objects,
        "timestamp": st.none() | odd,
        "integrations": st.none() | objects,
        "message_id": st.none() | ids,
    },
)
people = st.fixed_dictionaries({"user_id": ids}, optional={"anonymous_id": ids})
CALLS = {
    "track": st.tuples(people, st.fixed_dictionaries({"event": ids, "properties": objects}), options),
    "identify": st.tuples(people, st.fixed_dictionaries({"traits": objects}), options),
    "alias": st.tuples(st.fixed_dictionaries({"user_id": ids, "previous_id": ids}), options),
    "group": st.tuples(people, st.fixed_dictionaries({"group_id": ids, "traits": objects}), options),
    "page": st.tuples(
        people, st.fixed_dictionaries({"category": ids, "name": ids, "properties": objects}), options
    ),
    "screen": st.tuples(
        people, st.fixed_dictionaries({"category": ids, "name": ids, "properties": objects}), options
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_both_ways_give_the_same(kind: str, data: st.DataObject) -> None:
    """Bytes, the message with the order of its keys, refusals with their reason, warnings."""
    arguments: dict[str, Any] = {}
    for part in data.draw(CALLS[kind]):
        arguments.update(part)
    assert outcome(usual, kind, arguments) == outcome(the_long_way, kind, arguments)


@pytest.mark.parametrize(
    "deeper", [lambda value: [value], lambda value: {"": value}, lambda value: [[1], {"a": value}]]
)
@pytest.mark.parametrize("key", ["properties", "context"])
def test_both_ways_allow_the_same_depth(key: str, deeper: Callable[[Any], Any]) -> None:
    """98 levels within properties or context and what is around them, and not one more."""
    value: Any = {}
    for _ in range(105):
        value = deeper(value)
        arguments = {"user_id": "u1", "event": "A", key: {"p": value}}
        assert outcome(usual, "track", arguments) == outcome(the_long_way, "track", arguments)


@pytest.mark.parametrize(
    "bound", [{"user_id": "u1", "anonymous_id": "a1"}, {"anonymous_id": "a1"}, {"user_id": "u1"}, {}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_fill_in_what_is_bound(kind: str, bound: dict[str, str]) -> None:
    """A request's user, account and context; also where that is not enough, or the call's context is no dict."""
    first = {"track": {"event": "A"}, "alias": {"previous_id": "a0"}, "group": {"group_id": "acme"}}.get(
        kind, {}
    )
    with bind(account="acme", context={"ip": "192.0.2.1"}, **bound):
        for context in (None, {"locale": "nl"}, {"groupId": "other"}, {"library": 1}, 5):
            arguments = {**first, "context": context}
            assert outcome(usual, kind, arguments) == outcome(the_long_way, kind, arguments)


USUAL: list[tuple[str, dict[str, Any]]] = [
    (
        "track",
        {
            "user_id": "u1",
            "event": "A",
            "properties": {"a": [1, {"b": None}]},
            "context": {"ip": "192.0.2.1"},
        },
    ),
    ("track", {"anonymous_id": "a1", "event": "A"}),
    ("track", {"user_id": "u1", "anonymous_id": "a1", "event": "A", "properties": {}}),
    ("identify", {"user_id": "u1", "traits": {"born": dt.date(2000, 1, 2)}}),
    ("alias", {"previous_id": "a1", "user_id": "u1"}),
    ("group", {"user_id": "u1", "group_id": "acme", "traits": {"seats": 5}}),
    ("page", {"user_id": "u1", "name": "Home"}),
    ("page", {"user_id": "u1", "category": "Docs", "name": "Home", "properties": {"q": "é"}}),
    ("screen", {"user_id": "u1"}),
]


@pytest.mark.parametrize(("kind", "arguments"), USUAL)
def test_a_usual_call_goes_the_short_way(
    kind: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would only be slow, and nobody would see; its bytes are compact UTF-8 and say what the message says."""
    monkeypatch.setattr(_calls, "encode", lambda _: pytest.fail("the long way"))
    client = Taken()
    ok, message = getattr(client, kind)(**arguments)
    assert ok
    [event] = client.taken
    as_sent = json.loads(json.dumps(message, default=str))
    assert json.loads(event) == as_sent
    assert event.decode() == json.dumps(as_sent, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="without an encoder in C each call goes the long way"
)
def test_what_the_app_changes_after_the_call_changes_nothing() -> None:
    """The event is bytes when the call returns."""
    client = Taken()
    properties: dict[str, Any] = {"items": [{"sku": "a"}]}
    client.track("u1", "A", properties)
    properties["items"][0]["sku"] = "b"
    assert b'"sku":"a"' in client.taken[0]


def test_the_library_is_every_messages_own() -> None:
    """An app that writes into a returned message must not change what the next call returns."""
    client: Calls = Taken()
    client.track("u1", "A")[1]["context"]["library"]["name"] = "mine"
    assert client.track("u1", "A")[1]["context"]["library"]["name"] == "headwater-python"


class Emptying(str):
    """A key that empties its dict when it is looked for, as another thread might at that moment."""

    __slots__ = ("of",)
    of: dict[Any, Any]

    def __hash__(self) -> int:
        return hash("library")

    def __eq__(self, other: object) -> bool:
        self.of.clear()
        return False


@pytest.mark.parametrize("key", [Emptying("x"), "library", "x"])
def test_a_context_that_changes_during_the_call_still_gives_json(key: str) -> None:
    """What is written is decided by what is sent, and no key stands twice."""
    context: dict[Any, Any] = {key: 1}
    if isinstance(key, Emptying):
        key.of = context
    sent: list[bytes] = []
    client = Client("wk", "http://127.0.0.1:9", exit_timeout=0.01)

    def put(event: bytes) -> bool:
        sent.append(event)
        return True

    client._put = put  # type: ignore[method-assign]
    client.track("u1", "A", {}, context)
    [event] = sent
    found = json.loads(event, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
    assert event.count(b'"library":{') == 1
    assert len(set(found)) == len(found)


def test_a_given_time_is_not_kept_for_later_calls() -> None:
    """It may be an object of the app's that raises when it is compared."""

    class Odd(float):
        def __le__(self, other: object) -> bool:
            if type(other) is float:
                raise TypeError("not with floats")
            return float(self) <= float(other)  # type: ignore[arg-type]

    client = Client("wk", "http://127.0.0.1:9", send=False)
    client.track("u1", "A", timestamp=Odd(1_600_000_000.5))
    assert client.track("u1", "B")[0]
