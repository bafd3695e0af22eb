"""Bodies decoded and judged as the collector does, each by the short way and the long one."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import strategies as st

from collector import accept as accepting
from collector.accept import Call, decode
from collector.items import Rejected
from collector.outcome import Outcome
from headwater import accepted as recorded
from headwater import event
from headwater.event import EVENT_TYPES
from headwater.log.topics import event_key

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
