"""Normalize: total over every JSON body, and true to what the client and the server said."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from headwater import codec, limits
from headwater.accepted import encode_shared, heading, read, whole
from headwater.event import Accepted, Drop, Event, encode
from headwater.heading import Bare, Shared
from processors.normalize import merge_raw, normalize

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
NAMES = st.sampled_from(
    ["context", "properties", "traits", "integrations", "event", "name", "category", "type", "messageId", "userId",
     "writeKey", "_metadata", "sentAt", "receivedAt", "odd", "flags", "extra", "sourceId", "groupId", "previousId",
     "version", "projectId", "channel"]
)  # fmt: skip
BODIES = st.dictionaries(NAMES, JSON, max_size=8)


def accepted(body: Any, **header: Any) -> Accepted:
    """A body as the collector accepts it."""
    return Accepted(
        **{
            "source_id": "web", "channel": "browser", "type": "track", "message_id": "m1",
            "received_at": "2026-01-02T03:04:05.000Z", "timestamp": "2026-01-02T03:04:04.000Z", "anonymous_id": "a1",
            **header,
        },
        body=Raw(body if isinstance(body, bytes) else json.dumps(body).encode()),
    )  # fmt: skip


def event_of(body: Any, **header: Any) -> tuple[Event, dict[str, Any]]:
    """The event and, decoded, what it looks like on the wire."""
    event = normalize(accepted(body, **header))
    assert isinstance(event, Event)
    return event, json.loads(encode(event, bytearray()))


@given(BODIES | JSON, st.none() | JSON, st.booleans())
def test_every_json_body_gives_an_event_or_a_named_drop(body: Any, batch: Any, request: bool) -> None:
    """No body raises; what comes out is one JSON object without a key twice, with the server's header."""
    extra: dict[str, Any] = {"ip": "203.0.113.9", "user_agent": "ua"} if request else {}
    if isinstance(batch, dict):
        extra["batch_context"] = Raw(json.dumps(batch).encode())
    result = normalize(accepted(body, **extra))
    if isinstance(result, Drop):
        assert not isinstance(body, dict)
        assert result.reason == "unreadable_body"
        return
    line = encode(result, bytearray())
    assert b"\n" not in line
    wire = json.loads(line, object_pairs_hook=_no_key_twice)
    assert (wire["messageId"], wire["type"], wire["anonymousId"]) == ("m1", "track", "a1")
    assert "writeKey" not in wire
    for name in ("context", "properties", "traits", "integrations"):
        assert isinstance(wire.get(name, {}), dict)


@given(BODIES, st.none() | JSON, st.booleans())
def test_a_body_without_a_header_gives_the_event_it_would_give_with_one(
    body: dict[str, Any], batch: Any, request: bool
) -> None:
    """Decoded straight into the event, whatever keys of ours it has; equal in every key, and no key stands twice."""
    body |= {"type": body.get("type") or "track", "messageId": "m1", "timestamp": "2026-01-02T03:04:04.000Z"}
    body |= {"anonymousId": "", "userId": "u1"}
    if type(body["type"]) is not str:
        body["type"] = "page"
    shared = Shared(source_id="web", channel="browser", received_at="2026-01-02T03:04:05.000Z")
    if request:
        shared = msgspec.structs.replace(
            shared, ip="203.0.113.9", user_agent="ua", sent_at=shared.received_at
        )
    if isinstance(batch, dict):
        shared = msgspec.structs.replace(shared, batch_context=Raw(json.dumps(batch).encode()))
    value = b"%b\n%b" % (heading(encode_shared(shared), 1), json.dumps(body).encode())
    (bare,) = read(value)
    assert isinstance(bare, Bare)
    found, expected = normalize(bare), normalize(whole(bare))
    assert isinstance(found, Event)
    assert isinstance(expected, Event)
    wire = json.loads(encode(found, bytearray()), object_pairs_hook=_no_key_twice)
    assert wire == json.loads(encode(expected, bytearray()), object_pairs_hook=_no_key_twice)
    assert (found.view, found.flags) == (expected.view, expected.flags)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.text(max_size=4), st.booleans())
def test_splicing_never_makes_a_key_stand_twice(value: dict[str, Any], key: str, ascii_only: bool) -> None:
    """Also where the client wrote the key with escapes."""
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
    escaped = raw.replace(b'"ip"', b'"\\u0069p"')
    for text in (raw, escaped):
        wire = json.loads(codec.splice(text, key, b"7"), object_pairs_hook=_no_key_twice)
        assert wire[key] == 7
        assert wire.keys() == value.keys() | {key}


def test_the_header_wins_over_the_body() -> None:
    """Ids, times and type of the body are the client's claim; the collector has judged them."""
    _, wire = event_of(
        {
            "messageId": "x",
            "type": "page",
            "userId": 5,
            "receivedAt": "1999",
            "projectId": "p",
            "channel": "x",
        }
    )
    assert wire["messageId"] == "m1"
    assert wire["type"] == "track"
    assert wire["receivedAt"] == "2026-01-02T03:04:05.000Z"
    assert wire["channel"] == "browser"
    assert "userId" not in wire
    assert "projectId" not in wire


def test_unknown_keys_are_kept_and_the_write_key_is_not() -> None:
    """A top-level key that the contract does not know stays for the archive, `_metadata` too."""
    _, wire = event_of({"event": "E", "email": "a@b.c", "writeKey": "secret", "_metadata": {"bundled": []}})
    assert (wire["email"], wire["_metadata"]) == ("a@b.c", {"bundled": []})
    assert "writeKey" not in wire


def test_the_request_fills_only_what_the_client_left_open() -> None:
    """An explicit address, 0.0.0.0 and null too, is a wish; an escaped key counts as said."""
    filled = {"ip": "203.0.113.9", "user_agent": "UA"}
    assert event_of({"context": {}}, **filled)[1]["context"] == {"ip": "203.0.113.9", "userAgent": "UA"}
    for own in ("0.0.0.0", None):
        event, wire = event_of({"context": {"ip": own, "userAgent": "mine"}}, **filled)
        assert wire["context"] == {"ip": own, "userAgent": "mine"}
        assert event.view.ip == own
    _, wire = event_of(b'{"context":{"\\u0069p":"1.2.3.4"}}', **filled)
    assert wire["context"] == {"ip": "1.2.3.4", "userAgent": "UA"}


def test_the_envelope_lies_below_the_events_own_values() -> None:
    """Deep merge; the item wins; nothing is decoded that need not be."""
    _, wire = event_of(
        {"context": {"app": {"name": "mine"}}, "integrations": {"A": False}},
        batch_context=Raw(b'{"app":{"name":"theirs","version":"1"},"n":123456789012345678901234567890}'),
        batch_integrations=Raw(b'{"A":true,"B":true}'),
    )
    assert wire["context"] == {"app": {"name": "mine", "version": "1"}, "n": 123456789012345678901234567890}
    assert wire["integrations"] == {"A": False, "B": True}


def test_wrong_types_are_left_out_and_named() -> None:
    """What the collector would have refused cannot break a replay of older records."""
    event, wire = event_of(
        {"context": [], "properties": "x", "traits": 1, "integrations": True, "name": 5, "event": {}}
    )
    assert event.flags == [
        "context_not_object",
        "properties_not_object",
        "traits_not_object",
        "integrations_not_object",
    ]
    assert wire["context"] == {}
    assert not {"properties", "traits", "integrations", "name", "event"} & wire.keys()


def test_properties_past_the_limit_are_dropped_and_flagged() -> None:
    """The first 10,000 stay."""
    event, wire = event_of({"properties": {f"p{number}": 1 for number in range(limits.PROPERTIES + 5)}})
    assert len(wire["properties"]) == limits.PROPERTIES
    assert event.flags == ["properties_over_limit"]


def test_a_page_takes_name_and_category_from_its_properties() -> None:
    """Pixels and raw HTTP put them there; top-level values win."""
    _, wire = event_of({"properties": {"name": "Home", "category": "Docs"}, "name": "Top"}, type="page")
    assert (wire["name"], wire["category"]) == ("Top", "Docs")
    _, wire = event_of({"properties": {"name": "thing"}})
    assert "name" not in wire


def test_merging_stops_at_a_depth_instead_of_failing() -> None:
    """Objects nested past any sense are taken from the item whole."""
    deep = b'{"a":' * 200 + b"1" + b"}" * 200
    assert msgspec.json.decode(merge_raw(deep, deep)) == msgspec.json.decode(deep)


def test_a_body_beyond_the_decoder_is_a_drop() -> None:
    """A million levels cannot be decoded (Python 3.14 goes as deep as the stack holds): named, not raised."""
    result = normalize(accepted(b'{"context":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"))
    assert isinstance(result, Drop)
    assert result.reason == "unreadable_body"
