"""Records of accepted events: what is written once for a request is known of each of its events when read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from collector.accept import Call, accept, decode
from collector.outcome import Outcome
from headwater import event
from headwater.accepted import read, read_whole
from headwater.heading import Bare, Unreadable
from headwater.timestamps import iso

NOW = 1_750_000_000_000
CALL = Call("web", "browser", None, NOW, True, "192.0.2.1", "agent")


def item(number: int, **fields: Any) -> dict[str, Any]:
    """A usual event."""
    return {
        "type": "track",
        "event": "E",
        "messageId": f"m{number}",
        "anonymousId": f"a{number % 3}",
    } | fields


def judged(items: Sequence[object], **envelope: Any) -> Outcome:
    """The outcome of a batch."""
    found = decode(json.dumps({"batch": items, **envelope}).encode(), batch=True)
    assert not isinstance(found, str)
    return accept(found, CALL, lambda _: "generated")


def whole(value: bytes) -> list[event.Accepted]:
    """The events of a record, none of them unreadable."""
    found = list(read_whole(value))
    events = [one for one in found if isinstance(one, event.Accepted)]
    assert len(events) == len(found), found
    return events


def test_what_a_request_says_once_is_known_of_each_event() -> None:
    """Source, address, agent, arrival, the envelope's context: one line, then the client's bytes alone."""
    outcome = judged([item(1), item(2)], sentAt=iso(NOW - 500), context={"locale": "nl"})
    lines = outcome.record().split(b"\n")
    assert len(lines) == 3
    assert lines[1:] == [bytes(body) for body in outcome.bodies]
    for one in whole(outcome.record()):
        assert (one.source_id, one.channel, one.ip, one.user_agent) == (
            "web",
            "browser",
            "192.0.2.1",
            "agent",
        )
        assert (one.received_at, one.sent_at, one.batch_context) == (
            iso(NOW),
            iso(NOW - 500),
            Raw(b'{"locale": "nl"}'),
        )


def test_unusual_events_bring_their_own_header_and_keep_their_place() -> None:
    """Runs of usual events alternate with events that have a header; the order is the client's."""
    outcome = judged(
        [
            item(1),
            item(2, groupId="g"),
            item(3, type="group", groupId="g"),
            item(4),
            item(5),
            item(6, messageId=None),
        ]
    )
    kinds = [type(one) for one in read(outcome.record())]
    assert kinds == [Bare, event.Accepted, event.Accepted, Bare, Bare, event.Accepted]
    assert [one.message_id for one in whole(outcome.record())] == ["m1", "m2", "m3", "m4", "m5", "generated"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=12))
def test_any_part_of_a_request_reads_back_in_order(shape: list[tuple[bool, int]]) -> None:
    """Split by partition, each record holds its events, whole and in order, whichever of them are usual."""
    items = [
        item(n, anonymousId=f"a{part}", **({} if usual else {"groupId": "g"}))
        for n, (usual, part) in enumerate(shape)
    ]
    outcome = judged(items)
    for part in {part for _, part in shape}:
        numbers = [n for n, key in enumerate(outcome.keys) if key == f"a{part}"]
        assert [one.message_id for one in whole(outcome.record(numbers))] == [f"m{n}" for n in numbers]


def test_a_body_that_looks_like_our_line_is_a_body() -> None:
    """What a client sends is counted, never looked at, before it is decoded as a body."""
    forged = {"shared": {"sourceId": "other", "channel": "server", "receivedAt": iso(0)}, "bodies": 1}
    alone = {"sourceId": "other", "channel": "server", "receivedAt": iso(0)}
    outcome = judged([forged | item(1), item(2), alone | item(3)])
    assert [(one.source_id, one.message_id) for one in whole(outcome.record())] == [
        ("web", "m1"),
        ("web", "m2"),
        ("web", "m3"),
    ]


def test_lines_that_hold_no_event_are_told_and_cost_no_neighbour() -> None:
    """A heading, a header or a body that cannot be read gives `Unreadable`; what follows is read."""
    good = judged([item(1)]).record()
    heading = good.split(b"\n")[0]
    value = b"\n".join(
        (b'{"shared":{}}', b'{"sourceId":1}', heading, b"[]", good)
    )  # a heading, a line, a body
    found = list(read_whole(value))
    assert [type(one) for one in found] == [Unreadable, Unreadable, Unreadable, event.Accepted]


def test_a_text_that_is_no_utf8_costs_its_own_line_only() -> None:
    """The decoder has no error of its own for it; the collector lets none in, another program might."""
    shared = b'"sourceId":"w","channel":"browser","receivedAt":"2026-01-02T03:04:05.678Z"'
    bodies = [
        b'{"type":"track","messageId":"m%b","timestamp":"%b"}' % (text, text) for text in (b"\xff", b"1")
    ]
    lines = [
        b'{"shared":{%b,"ip":"\xe9"},"bodies":1}' % shared,
        b'{"shared":{%b},"bodies":2}' % shared,
        *bodies,
        b'{"type":"\xf0"}',
    ]
    found = list(read_whole(b"\n".join(lines)))
    assert [type(one) for one in found] == [Unreadable, Unreadable, event.Accepted, Unreadable]
    assert [one.text for one in found if isinstance(one, Unreadable)] == [lines[0], bodies[0], lines[-1]]
    assert all("utf-8" in one.detail for one in found if isinstance(one, Unreadable))


def test_a_record_that_is_cut_off_says_so() -> None:
    """Fewer bodies than are announced: those that are there are events, and what is missing is told."""
    first, second, _ = judged([item(1), item(2)]).record().split(b"\n")
    found = list(read_whole(b"\n".join((first, second))))
    assert [type(one) for one in found] == [event.Accepted, Unreadable]
    assert isinstance(found[1], Unreadable)
    assert "2 bodies are announced, 1 are there" in found[1].detail
    assert found[1].text == b""  # never the heading itself: it would claim the lines that follow it elsewhere


def test_times_are_stamped_as_with_a_header() -> None:
    """An event without a time, with a late one, and with one that nobody can read, whichever way it is written."""
    items = [
        item(1),
        item(2, timestamp=iso(NOW + 90_000_000)),
        item(3, timestamp="soon"),
        item(4, originalTimestamp=iso(NOW - 9)),
        item(5, timestamp="2025-06-15T14:13:20+02:00"),
    ]
    found = decode(json.dumps({"batch": items, "sentAt": iso(NOW - 1_000)}).encode(), batch=True)
    assert not isinstance(found, str)
    bare = whole(accept(found, CALL, lambda _: "g").record())
    assert bare == whole(accept(found, CALL, lambda _: "g", headers=True).record())
    assert bare[2].flags == ["timestamp_unparsable"]


def test_a_heading_that_counts_backwards_is_read_once() -> None:
    """Corrupt: the lines behind it are judged each by itself, and reading comes to an end."""
    record = judged([item(1), item(2)]).record()
    found = list(read_whole(record.replace(b'"bodies":2', b'"bodies":-2')))
    assert b'"bodies":2' in record
    assert [type(one) for one in found] == [Unreadable, Unreadable, Unreadable]
