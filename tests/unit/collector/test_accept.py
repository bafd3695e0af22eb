"""What a body becomes: whole refusals, rejected items, accepted events; and that no item costs its neighbours."""

from __future__ import annotations

import json

import orjson
import pytest

from collector.accept import Envelope, decode
from collector.codes import REFUSALS, REJECTIONS
from tests.unit.collector.judging import GOOD, Read, outcome, run


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
        ({"type": "track", "userId": "u", "event": "e", "properties": [1]}, "properties_not_object"),
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
