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

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Raw, Struct

from headwater import event, timestamps
from headwater.event import Accepted, Channel, OptionalRaw
from headwater.stamp import sent_of_all, stamp


class Shared(Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """What the events of one request have in common; fields as in `Accepted`."""

    source_id: str
    channel: Channel
    received_at: str
    sent_at: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    batch_context: OptionalRaw = None
    batch_integrations: OptionalRaw = None


class Unreadable(Struct, frozen=True):
    """Lines that hold no event, and why; nothing the collector writes comes to this."""

    text: bytes
    detail: str


class _Heading(Struct, gc=False):
    shared: Shared
    bodies: int


class _Ids(Struct, rename="camel", gc=False):
    """The parts of a body that its header would tell."""

    type: str
    message_id: str
    timestamp: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    original_timestamp: str | None = None


_HEADING = b'{"shared":'
_encode = msgspec.json.Encoder().encode
_heading = msgspec.json.Decoder(_Heading).decode
_ids = msgspec.json.Decoder(_Ids).decode


def heading(shared: bytes, bodies: int) -> bytes:
    """The line before so many bodies; `shared` is a `Shared`, encoded."""
    return b'%b%b,"bodies":%d}' % (_HEADING, shared, bodies)


def encode_shared(shared: Shared) -> bytes:
    """What `heading` takes."""
    return _encode(shared)


def read(value: bytes | None) -> Iterator[Accepted | Unreadable]:
    """The events of a record, in their order."""
    lines = value.split(b"\n") if value else []
    at = 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if not line.startswith(_HEADING):
            yield _alone(line)
            continue
        try:
            found = _heading(line)
        except (msgspec.DecodeError, RecursionError) as error:
            yield Unreadable(line, str(error))
            continue
        yield from _bodies(line, found.shared, lines[at : at + found.bodies])
        at += found.bodies


def _alone(line: bytes) -> Accepted | Unreadable:
    try:
        return event.decode_accepted(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return Unreadable(line, str(error))


def _bodies(line: bytes, shared: Shared, bodies: Sequence[bytes]) -> Iterator[Accepted | Unreadable]:
    received = timestamps.parse(shared.received_at) or 0
    sent = sent_of_all(shared.sent_at, received)
    for body in bodies:
        try:
            ids = _ids(body)
        except (msgspec.DecodeError, RecursionError) as error:
            yield Unreadable(line + b"\n" + body, str(error))
            continue
        original, flags = ids.timestamp, None
        time = None
        if sent is not None and original is not None:
            time = timestamps.shifted(original, sent.skew_ms, sent.latest_ms)
        if time is None:
            time, original, flags = _unusual_times(shared, ids, received)
        yield Accepted(
            source_id=shared.source_id,
            channel=shared.channel,
            type=ids.type,
            message_id=ids.message_id,
            received_at=shared.received_at,
            timestamp=time,
            original_timestamp=original,
            sent_at=shared.sent_at,
            anonymous_id=ids.anonymous_id or None,
            user_id=ids.user_id or None,
            ip=shared.ip,
            user_agent=shared.user_agent,
            flags=flags,
            batch_context=shared.batch_context,
            batch_integrations=shared.batch_integrations,
            body=Raw(body),
        )


def _unusual_times(shared: Shared, ids: _Ids, received: int) -> tuple[str, str, list[str] | None]:
    """An event's time, its original time and flags."""
    found = stamp(
        received,
        shared.channel,
        timestamp=ids.timestamp,
        original=ids.original_timestamp,
        envelope_sent=shared.sent_at,
    )
    return timestamps.iso(found.timestamp), timestamps.iso(found.original), found.flags
