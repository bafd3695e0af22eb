"""Laws of what a body becomes: total over any bytes and items, neighbours kept, ids and texts unchanged."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.codes import REFUSALS, REJECTIONS
from collector.ids import canonical, new_message_id
from headwater import limits
from headwater.event import EVENT_TYPES
from headwater.timestamps import iso
from tests.unit.collector.judging import GOOD, ITEMS, JSON, NOW, outcome, run


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(body: bytes) -> None:
    """Total over arbitrary bytes: a declared refusal or an outcome with declared codes."""
    for kind in ("track", None):
        found = run(body, kind)
        if isinstance(found, str):
            assert found in REFUSALS
        else:
            assert all(one.code in REJECTIONS for one in found.rejected)


def mended(item: dict[str, Any]) -> dict[str, Any]:
    """As it came, but for the empty arrays where objects belong."""
    objects = ("properties", "traits", "context", "integrations")
    return {name: {} if name in objects and value == [] else value for name, value in item.items()}


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
    kept = [mended(item) for index, item in enumerate(batch) if index not in refused]
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
