"""What a body becomes: whole refusals, rejected items, accepted events; and that no item costs its neighbours."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import accept as accepting
from collector.accept import Call, Envelope, decode
from collector.codes import REFUSALS, REJECTIONS
from collector.ids import canonical, new_message_id
from collector.items import Rejected
from collector.outcome import Outcome
from headwater import accepted as recorded
from headwater import event, limits
from headwater.event import EVENT_TYPES
from headwater.log.topics import event_key
from headwater.timestamps import iso

NOW = 1_750_000_000_000
GOOD: dict[str, Any] = {"type": "track", "event": "Signed Up", "userId": "u1", "messageId": "m1"}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "type",
        "event",
        "userId",
        "anonymousId",
        "groupId",
        "previousId",
        "messageId",
        "timestamp",
        "sentAt",
        "originalTimestamp",
        "name",
        "category",
        "properties",
        "traits",
        "context",
        "integrations",
        "writeKey",
        "email",
    ]
)
ITEMS = st.dictionaries(FIELDS, JSON | st.sampled_from(sorted(EVENT_TYPES)), max_size=10) | JSON


class Read(NamedTuple):
    """An outcome with its lines read back, as processors do."""

    accepted: list[event.Accepted]
    rejected: list[Rejected]


def events_of(found: Outcome) -> list[event.Accepted]:
    """The events of an outcome, read back from its record."""
    read = list(recorded.read_whole(found.record())) if found.keys else []
    assert all(isinstance(one, event.Accepted) for one in read), read
    return [one for one in read if isinstance(one, event.Accepted)]


def run(body: bytes | object, kind: str | None = None, **changes: Any) -> Read | str:
    """Decode and judge a body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    envelope = decode(data, batch=kind is None)
    if isinstance(envelope, str):
        return envelope
    call = Call("src", "server", kind, NOW, False, "192.0.2.1", "agent")._replace(**changes)
    found = accepting.accept(envelope, call, lambda _: "generated")
    # The short way for usual events gives what the long one gives.
    long = accepting.accept(envelope, call, lambda _: "generated", headers=True)
    assert (long.types, long.keys, long.rejected) == (found.types, found.keys, found.rejected)
    accepted = events_of(found)
    assert events_of(long) == accepted
    # The template writes what the encoder would have written, to the byte, and on one line.
    lines = list(event.lines(long.record())) if long.keys else []
    assert [event.encode_accepted(one) for one in accepted] == lines
    assert [one.type for one in accepted] == found.types
    assert [event_key(one.anonymous_id, one.user_id) for one in accepted] == found.keys
    return Read(accepted, found.rejected)


def outcome(body: bytes | object, kind: str | None = None, **changes: Any) -> Read:
    """The outcome of a body that is not refused as a whole."""
    found = run(body, kind, **changes)
    assert isinstance(found, Read), found
    return found


def codes(body: object, kind: str | None = None) -> list[str]:
    """The codes of the rejected items."""
    return [one.code for one in outcome(body, kind).rejected]


def test_a_single_call_takes_its_type_from_the_path() -> None:
    """The body's own type is ignored on single-call routes."""
    found = outcome({"userId": "u", "event": "x", "type": "alias"}, "track")
    assert found.accepted[0].type == "track"
    assert found.accepted[0].message_id == "generated"


def test_the_customers_bytes_are_kept() -> None:
    """The accepted body is the very text the client sent, white space and key order included."""
    text = b'{"userId" : "u","event":"x",  "properties":{"price":1.50,"n":12345678901234567890}}'
    assert bytes(outcome(text, "track").accepted[0].body) == text


def test_pretty_printed_json_becomes_one_line() -> None:
    """Line breaks between tokens may not break the log's lines."""
    body = json.dumps({"batch": [GOOD, GOOD]}, indent=2).encode()
    assert len(outcome(body).accepted) == 2  # `run` looks at the lines


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"type": "track", "event": "x"}, "no_user_anon_id"),
        ({"type": "track", "event": "x", "userId": ""}, "no_user_anon_id"),
        ({"type": "track", "event": "x", "userId": None, "anonymousId": None}, "no_user_anon_id"),
        ({"type": "track", "event": "x", "groupId": "g"}, "no_user_anon_id"),
        ({"type": "group", "groupId": "g"}, "no_user_anon_id"),
        ({"type": "group", "userId": "u"}, "id_required"),
        ({"type": "alias", "previousId": "p"}, "id_required"),
        ({"type": "alias", "userId": "u"}, "id_required"),
        ({"type": "track", "event": "x", "userId": True}, "id_not_string"),
        ({"type": "track", "event": "x", "userId": {}}, "id_not_string"),
        ({"type": "track", "event": "x", "userId": "u", "messageId": []}, "id_not_string"),
        ({"type": "track", "event": "x", "userId": "u" * 501}, "id_too_long"),
        ({"type": "track", "event": "x", "userId": "u", "messageId": "m" * 101}, "message_id_too_long"),
        ({"type": "track", "userId": "u"}, "event_not_defined"),
        ({"type": "track", "userId": "u", "event": ""}, "event_not_defined"),
        ({"type": "track", "userId": "u", "event": None}, "event_not_defined"),
        ({"type": "track", "userId": "u", "event": 5}, "event_not_string"),
        ({"type": "track", "userId": "u", "event": "e" * 1025}, "event_too_long"),
        ({"type": "track", "userId": "u", "event": "e", "properties": []}, "properties_not_object"),
        ({"type": "identify", "userId": "u", "traits": "x"}, "traits_not_object"),
        ({"type": "page", "userId": "u", "name": 4}, "name_not_string"),
        ({"type": "screen", "userId": "u", "category": 4}, "category_not_string"),
        ({"type": "purchase", "userId": "u"}, "bad_request"),
        ({"type": 4, "userId": "u"}, "bad_request"),
        ({"userId": "u"}, "bad_request"),
        ({"type": "page", "userId": "u", "context": "x"}, "bad_request"),
        ("text", "bad_request"),
        (None, "bad_request"),
        ([], "bad_request"),
        ({"type": "page", "userId": "u", "properties": {"x": "y" * 33_000}}, "event_too_large"),
    ],
)
def test_a_broken_item_is_rejected_and_spares_its_neighbours(item: object, code: str) -> None:
    """Each rule has its code, and the good items around are accepted in their order."""
    found = outcome({"batch": [{**GOOD, "messageId": "a"}, item, {**GOOD, "messageId": "b"}]})
    assert [one.message_id for one in found.accepted] == ["a", "b"]
    assert [(one.index, one.code) for one in found.rejected] == [(1, code)]
    assert code in REJECTIONS


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"", "track", "empty_body"),
        (b" \n", None, "empty_body"),
        (b"{", "track", "invalid_json"),
        (b"nonsense", None, "invalid_json"),
        (b'{"batch":[{]}', None, "invalid_json"),
        (b"{}{}", "track", "invalid_json"),
        (b"[1]", "track", "not_an_object"),
        (b"[1]", None, "not_an_object"),
        (b"null", "track", "not_an_object"),
        (b"{}", None, "batch_not_array"),
        (b'{"batch":{}}', None, "batch_not_array"),
        (b'{"batch":null}', None, "batch_not_array"),
    ],
)
def test_a_body_that_is_no_call_is_refused_whole(body: bytes, kind: str | None, code: str) -> None:
    """What can never succeed is a 400 with a code."""
    assert run(body, kind) == code
    assert REFUSALS[code].status == 400


def test_an_empty_batch_is_fine() -> None:
    """`batch: []` holds nothing and refuses nothing."""
    assert outcome({"batch": []}) == Read([], [])


def test_the_2501st_item_is_rejected_and_the_others_are_not() -> None:
    """Items beyond the limit are rejected one by one."""
    found = outcome({"batch": [{"type": "page", "userId": "u", "messageId": str(n)} for n in range(2_502)]})
    assert len(found.accepted) == 2_500
    assert [(one.index, one.message_id, one.code) for one in found.rejected] == [
        (2_500, "2500", "batch_too_long"),
        (2_501, "2501", "batch_too_long"),
    ]


@pytest.mark.parametrize(
    "broken",
    [b"NaN", b"Infinity", b"-Infinity", b'"\\ud800"', b'"\xff\xfe"', b'"\xed\xa0\x80"'],
)
def test_what_stock_clients_break_is_repaired(broken: bytes) -> None:
    """Bare NaN, lone surrogates and undecodable bytes cost nobody anything."""
    body = b'{"batch":[{"type":"track","event":"x","userId":"u","properties":{"v":%b}},%b]}' % (
        broken,
        json.dumps(GOOD).encode(),
    )
    found = outcome(body)
    assert [one.user_id for one in found.accepted] == ["u", "u1"]
    assert all(orjson.loads(bytes(one.body)) for one in found.accepted)


def test_a_byte_order_mark_is_taken_off() -> None:
    """Windows clients begin with one."""
    assert outcome(b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "track").accepted[0].user_id == "u1"
    assert outcome(
        b"\xef\xbb\xbf" + json.dumps({**GOOD, "event": "Käse"}, ensure_ascii=False).encode(), "track"
    ).accepted


@pytest.mark.parametrize("levels", [101, 900, 5_000, 15_000])
def test_a_nesting_bomb_costs_only_itself(levels: int) -> None:
    """However deep an item is nested, it is rejected alone and nothing recurses."""
    bomb = b'{"type":"page","userId":"u","properties":{"x":' + b"[" * levels + b"]" * levels + b"}}"
    good = json.dumps(GOOD).encode()
    found = outcome(b'{"batch":[' + b",".join((good, bomb, good)) + b"]}")
    assert len(found.accepted) == 2
    assert [(one.index, one.code) for one in found.rejected] == [(1, "nested_too_deep")]
    assert codes_of(outcome(bomb, "page")) == ["nested_too_deep"]


def codes_of(found: Read) -> list[str]:
    """The codes of an outcome."""
    return [one.code for one in found.rejected]


def test_a_flat_item_with_many_brackets_is_not_deep() -> None:
    """An order of 500 products is wide, not deep; brackets in strings do not count."""
    item = {**GOOD, "properties": {"products": [{"id": n} for n in range(500)], "text": "[" * 500}}
    assert len(outcome({"batch": [item]}).accepted) == 1


def test_an_unclosed_bomb_is_invalid_json() -> None:
    """Half a bomb is no JSON, and does not blow up either."""
    assert run(b'{"batch":[' + b"[" * 200_000) == "invalid_json"
    assert run(b'{"batch":["' + b'\\"' * 200_000) == "invalid_json"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (7, "7"),
        (0, "0"),
        (-3, "-3"),
        (12345678901234567890, "12345678901234567890"),
        (7.0, "7"),
        (7.5, "7.5"),
        (1e21, "1" + "0" * 21),
    ],
)
def test_number_ids_become_decimal_strings(sent: float, kept: str) -> None:
    """Ids that arrive as numbers are coerced, in every id field."""
    item = {"type": "group", "userId": sent, "groupId": sent, "anonymousId": sent, "messageId": sent}
    one = outcome({"batch": [item]}).accepted[0]
    assert (one.user_id, one.group_id, one.anonymous_id, one.message_id) == (kept,) * 4


def test_envelope_fields_go_to_every_item() -> None:
    """SentAt stamps each item; context and integrations travel beside it, to be merged below its own."""
    body = {
        "batch": [{**GOOD, "timestamp": "2025-06-15T15:00:00Z"}] * 2,
        "sentAt": "2025-06-15T15:00:10Z",
        "context": {"app": {"name": "x"}},
        "integrations": {"All": False},
    }
    for one in outcome(body).accepted:
        assert one.sent_at == "2025-06-15T15:00:10.000Z"
        assert one.timestamp == "2025-06-15T15:06:30.000Z"
        assert one.batch_context is not None
        assert json.loads(bytes(one.batch_context)) == {"app": {"name": "x"}}
        assert one.batch_integrations is not None
        assert json.loads(bytes(one.batch_integrations)) == {"All": False}


def test_a_huge_envelope_context_is_refused() -> None:
    """It would be repeated beside each event."""
    assert run({"batch": [GOOD], "context": {"x": "y" * 40_000}}) == "body_too_large"
    assert run({"batch": [{}] * 2_400, "context": {"x": "y" * 10_000}}) == "body_too_large"


def test_the_address_is_used_only_for_client_side_calls() -> None:
    """Client-side routes and sources, or `context.direct: true`; nobody else."""
    direct = {**GOOD, "context": {"direct": True}}
    first, second = outcome({"batch": [GOOD, direct]}).accepted
    assert (first.ip, first.user_agent) == (None, None)
    assert (second.ip, second.user_agent) == ("192.0.2.1", "agent")
    assert outcome(GOOD, "track", client_side=True).accepted[0].ip == "192.0.2.1"
    assert outcome({**GOOD, "context": {"direct": "yes"}}, "track").accepted[0].ip is None


def test_the_write_key_is_found_in_the_envelope_or_the_first_item() -> None:
    """Batches carry the key once, or only in their items."""
    for body in ({"batch": [GOOD], "writeKey": "k"}, {"batch": [{**GOOD, "writeKey": "k"}]}):
        envelope = decode(json.dumps(body).encode(), batch=True)
        assert isinstance(envelope, Envelope)
        assert envelope.write_key == "k"


def test_a_malformed_time_is_flagged_not_rejected() -> None:
    """Even a time of a wrong JSON type."""
    wrong: list[object] = [{}, [], True, "soon"]
    for bad in wrong:
        one = outcome({**GOOD, "timestamp": bad}, "track").accepted[0]
        assert one.flags == ["timestamp_unparsable"]
        assert one.timestamp == one.received_at


def test_duplicate_keys_are_survived() -> None:
    """The last one counts, as everywhere."""
    assert outcome(b'{"userId":"a","userId":"b","event":"x"}', "track").accepted[0].user_id == "b"


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(body: bytes) -> None:
    """Total over arbitrary bytes: a declared refusal or an outcome with declared codes."""
    for kind in ("track", None):
        found = run(body, kind)
        if isinstance(found, str):
            assert found in REFUSALS
        else:
            assert all(one.code in REJECTIONS for one in found.rejected)


@given(st.lists(ITEMS, max_size=6), st.integers(0, 6))
@settings(max_examples=300)
def test_neighbours_survive_in_order_and_every_item_is_answered(items: list[Any], place: int) -> None:
    """Any items: each is accepted or rejected once, in order; a good one among them is always accepted."""
    place = min(place, len(items))
    batch = [*items[:place], {**GOOD, "messageId": "the-good-one"}, *items[place:]]
    found = outcome({"batch": batch})
    assert len(found.accepted) + len(found.rejected) == len(batch)
    assert "the-good-one" in [one.message_id for one in found.accepted]
    refused = {one.index for one in found.rejected}
    assert [one.index for one in found.rejected] == sorted(refused)
    kept = [item for index, item in enumerate(batch) if index not in refused]
    assert [json.loads(bytes(one.body)) for one in found.accepted] == kept


@given(ITEMS)
@settings(max_examples=300)
def test_what_is_accepted_reads_back_and_has_an_id(item: Any) -> None:
    """Every accepted line decodes to itself, on one line (`run`), with the ids its type needs."""
    for one in outcome({"batch": [item]}).accepted:
        assert one.user_id or one.anonymous_id
        assert one.type in EVENT_TYPES
        assert 0 < len(one.message_id) <= limits.MESSAGE_ID_CHARS


TIMES = st.integers(NOW - 10**9, NOW + 10**9).map(iso) | st.sampled_from(
    ["", "soon", "2025-06-15", "1900-01-01T00:00:00.000Z"]
)
SIZES = st.sampled_from([0, 1, 99, 100, 101, 500, 501, 1_024, 1_025])
USUAL = st.fixed_dictionaries(
    {
        "type": st.sampled_from(sorted(EVENT_TYPES)),
        "messageId": SIZES.map(lambda size: "m" * size),
        "timestamp": TIMES,
    },
    optional={
        "event": SIZES.map(lambda size: "e" * size) | st.none(),
        "anonymousId": SIZES.map(lambda size: "ä" * size),
        "userId": SIZES.map(lambda size: "u" * size) | st.none(),
        "groupId": SIZES.map(lambda size: "g" * size),
        "sentAt": TIMES,
        "context": st.fixed_dictionaries({}, optional={"direct": st.booleans() | st.none()}),
        "properties": JSON,
        "name": st.text(max_size=3) | st.none() | st.integers(),
    },
)


@given(st.lists(USUAL, max_size=4), st.none() | TIMES, st.sampled_from(["server", "browser"]), st.booleans())
@settings(max_examples=300)
def test_events_at_every_limit_are_judged_alike_by_both_ways(
    batch: list[Any], sent: str | None, channel: str, client_side: bool
) -> None:
    """Lengths, kinds and times around every rule: `run` compares the short way with the long one; each is answered."""
    body = json.dumps({"batch": batch, "sentAt": sent}, ensure_ascii=False).encode()
    found = outcome(body, channel=channel, client_side=client_side)
    assert len(found.accepted) + len(found.rejected) == len(batch)


@given(
    st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40), st.text(max_size=40), st.booleans()
)
@settings(max_examples=300)
def test_ids_and_agents_of_any_text_come_back_as_they_were(
    user: str, message: str, agent: str, escape: bool
) -> None:
    """Quotes, backslashes, control characters, any script; escaped by the client or not."""
    item = {"type": "track", "event": "x", "userId": user, "messageId": message}
    body = json.dumps(item, ensure_ascii=escape).encode()
    (one,) = outcome(body, "track", client_side=True, user_agent=agent, source_id='a"b').accepted
    assert (one.user_id, one.message_id, one.user_agent, one.source_id) == (user, message, agent, 'a"b')


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_canonical_ids_are_plain_decimals_of_the_same_value(value: float) -> None:
    """No exponent, and nothing lost."""
    text = canonical(value)
    assert "e" not in text.lower()
    assert float(text) == value


def test_generated_ids_are_unique_and_sorted_by_time() -> None:
    """UUID version 7."""
    made = [new_message_id(NOW + n) for n in range(1_000)]
    assert made == sorted(made)
    assert len(set(made)) == 1_000
    assert {text[14] for text in made} == {"7"}
    assert {text[19] for text in made} <= set("89ab")
