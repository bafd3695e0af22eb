"""Records of `events.accepted`: how the collector writes events down, and how everybody reads them back. Pure.

A record is NDJSON. An event stands on a line of its own with a header (`headwater.event.Accepted`), or, as nearly all
events of a batch do, as the client's bytes alone, behind one line that tells what the server knows of all of them:

    {"shared":{"sourceId":"web","channel":"browser","receivedAt":"...","sentAt":"..."},"bodies":2}
    {"type":"track","event":"Signed Up","messageId":"m1","anonymousId":"a","timestamp":"..."}
    {"type":"page","messageId":"m2","anonymousId":"a","timestamp":"..."}

`bodies` counts the lines that follow, so nothing that a client sends can pass for a line of ours. Ids and times of such
an event are read from its body; the collector has seen to it that they are there and within their limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Final

import msgspec
from msgspec import Raw

from headwater import codec, event, timestamps
from headwater.event import Accepted
from headwater.heading import Bare, Heading, Ids, Shared, Unreadable
from headwater.stamp import sent_of_all, stamp

Times = tuple[str, str, list[str] | None]  # an event's and its original time in ISO-8601; flags

_HEADING: Final = b'{"shared":'
_encode: Final = msgspec.json.Encoder().encode
_heading: Final = msgspec.json.Decoder(Heading).decode
_ids: Final = msgspec.json.Decoder(Ids).decode


def heading(shared: bytes, bodies: int) -> bytes:
    """The line before so many bodies; `shared` is a `Shared`, encoded."""
    return b'%b%b,"bodies":%d}' % (_HEADING, shared, bodies)


def encode_shared(shared: Shared) -> bytes:
    """What `heading` takes."""
    return _encode(shared)


def times(bare: Bare, timestamp: str | None, original: str | None) -> Times:
    """When a bare event happened, by its body's `timestamp` and `originalTimestamp`."""
    if timestamp is not None and (sent := bare.sent) is not None:
        time = timestamps.shifted(timestamp, sent.skew_ms, sent.latest_ms)
        if time is not None:
            return time, timestamp, None
    shared = bare.shared
    found = stamp(
        bare.received_ms,
        shared.channel,
        timestamp=timestamp,
        original=original,
        envelope_sent=shared.sent_at,
    )
    return timestamps.iso(found.timestamp), timestamps.iso(found.original), found.flags


def whole(bare: Bare) -> Accepted:
    """The same event with a header. Raises one of `codec.REFUSED` for a body the collector would not have taken."""
    ids, shared = _ids(bare.line), bare.shared
    timestamp, original, flags = times(bare, ids.timestamp, ids.original_timestamp)
    return Accepted(
        source_id=shared.source_id,
        channel=shared.channel,
        type=ids.type,
        message_id=ids.message_id,
        received_at=shared.received_at,
        timestamp=timestamp,
        original_timestamp=original,
        sent_at=shared.sent_at,
        anonymous_id=ids.anonymous_id or None,
        user_id=ids.user_id or None,
        ip=shared.ip,
        user_agent=shared.user_agent,
        flags=flags,
        batch_context=shared.batch_context,
        batch_integrations=shared.batch_integrations,
        body=Raw(bare.body),
    )


def read(value: bytes | None) -> Iterator[Accepted | Bare | Unreadable]:
    """The events of a record, in their order."""
    lines = BytesIO(value or b"").readlines()  # `split` looks at each byte by itself
    at = 0
    while at < len(lines):
        line, at = lines[at], at + 1
        try:
            if not line.startswith(_HEADING):
                yield event.decode_accepted(line)
                continue
            found = _heading(line)
        except codec.REFUSED as error:
            yield Unreadable(line.removesuffix(b"\n"), str(error))
            continue
        shared, end = found.shared, at + found.bodies
        received = timestamps.parse(shared.received_at) or 0
        sent = sent_of_all(shared.sent_at, received)
        for body in lines[at:end]:
            yield Bare(shared, received, sent, body)
        if end > len(lines):
            there = len(lines) - at
            yield Unreadable(
                b"", f"the record is cut off: {found.bodies} bodies are announced, {there} are there"
            )
        at = end


def read_whole(value: bytes | None) -> Iterator[Accepted | Unreadable]:
    """As `read`, each event with a header: for those who read few."""
    for one in read(value):
        if type(one) is not Bare:
            yield one  # type: ignore[misc]
            continue
        try:
            yield whole(one)
        except codec.REFUSED as error:
            yield Unreadable(one.body, str(error))
