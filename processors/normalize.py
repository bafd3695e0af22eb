"""Normalize. Turns an accepted record into an event of Segment's shape.

What the server decided (ids, type, timestamps, source) wins over what the body says. The envelope's context and integrations
lie below the event's own. Address and agent of the request fill `context.ip` and `context.userAgent` where the event says
nothing about them: an explicit value, null too, is a client's wish. Keys the contract does not know go to `extra`.

Total: every body that is JSON gives an event; what had to be left out is named in `flags`. A body that cannot be decoded at
all (nested deeper than the decoder goes) is a drop, `unreadable_body`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from headwater import codec, limits
from headwater.accepted import times, whole
from headwater.codec import EMPTY_OBJECT
from headwater.event import Accepted, Drop, Event
from headwater.heading import Bare, Shared
from headwater.workspace.model import Workspace
from processors.shapes import ABSENT, EMPTY, Body, Direct, Title, View

Normalize: TypeAlias = Callable[[Accepted | Bare], Event | Drop]

_MERGE_DEPTH = 32  # levels of context that are merged; below them the event's own value stands as it is
_SMALLEST_PROPERTY = 5  # bytes of `"":1,`: an object shorter than the limit times this is not over it
_NAMED = frozenset(("page", "screen"))


_WIRE = {field.encode_name: field.name for field in msgspec.structs.fields(Body)}
# Not a client's to say, or already in the header: never passed on.
_STRIPPED = frozenset(_WIRE) - {"_metadata"}
_OURS = frozenset(("flags", "extra"))

_body: Final = msgspec.json.Decoder(Body).decode
_direct: Final = msgspec.json.Decoder(Direct).decode
_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_view: Final = msgspec.json.Decoder(View).decode
_title: Final = msgspec.json.Decoder(Title).decode
_encode: Final = msgspec.json.Encoder().encode


def build(workspace: Workspace) -> Normalize:
    """The normalizer of a workspace."""
    del workspace  # nothing of it is configurable; the signature is every processor's
    return normalize


def normalize(one: Accepted | Bare) -> Event | Drop:
    """One event from its header and body; `unreadable_body` where the body is no JSON object within reach.

    A number beyond any double where a typed value is read (`context.ip: 1e999`) becomes its text.
    """
    try:
        if isinstance(one, Bare):
            try:
                return _normalized_bare(one)
            except codec.REFUSED:  # a key we do not know, mostly
                one = whole(one)
        return _normalized(one)
    except codec.REFUSED:
        pass
    try:
        return _normalized(_salvaged(one if isinstance(one, Accepted) else whole(one)))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        return Drop("unreadable_body", f"the body is not a JSON object that can be decoded: {error}")


def _normalized(accepted: Accepted) -> Event:
    body, extra = _decode(accepted.body)
    event = _event(accepted, body)
    _fill_context(event, accepted, body.context)
    _fill_bodies(event, accepted, body.properties, body.traits, body.integrations)
    event.extra = extra
    return event


def _normalized_bare(bare: Bare) -> Event:
    event, shared = _direct(bare.line), bare.shared
    if event.flags is not None or event.extra is not None:  # the client's keys only have the names of ours
        return _normalized(whole(bare))
    event.timestamp, event.original_timestamp, flags = times(bare, event.timestamp, event.original_timestamp)
    event.source_id = shared.source_id
    event.channel = shared.channel
    event.received_at = shared.received_at
    event.sent_at = shared.sent_at
    if flags is not None:
        event.flags = flags
    _forget_unsaid(event)
    _fill_context(event, shared, EMPTY if event.context is ABSENT else event.context)
    _fill_bodies(event, shared, event.properties, event.traits, event.integrations)
    return event


def _forget_unsaid(event: Direct) -> None:
    """What a body cannot say, or says by an empty text. Setting costs more than looking, and there is rarely anything."""
    if event.anonymous_id == "":
        event.anonymous_id = None
    if event.user_id == "":
        event.user_id = None
    if event.event is not None and event.type != "track":
        event.event = None
    if event.group_id is not None or event.previous_id is not None:  # of calls that come with a header
        event.group_id = event.previous_id = None
    if event.write_key is not ABSENT or event.version is not ABSENT or event.project_id is not ABSENT:
        event.write_key = event.version = event.project_id = ABSENT


def _salvaged(accepted: Accepted) -> Accepted:
    """The same with raw parts that any decoder reads. Raises ValueError."""
    fresh = {
        name: Raw(codec.dumps(codec.salvage(raw)))
        for name in ("body", "batch_context", "batch_integrations")
        if (raw := getattr(accepted, name)) is not None
    }
    return msgspec.structs.replace(accepted, **fresh)


def _decode(raw: Raw) -> tuple[Body, dict[str, Raw] | None]:
    try:
        body = _body(raw)
    except msgspec.ValidationError:
        return _decode_leniently(raw)
    return body, None if body.metadata is ABSENT else {"_metadata": body.metadata}


def _decode_leniently(raw: Raw) -> tuple[Body, dict[str, Raw] | None]:
    fields = _members(raw)
    body = Body()
    for wire in _WIRE.keys() & fields.keys():
        value: Any = fields[wire]
        if wire in ("event", "name", "category"):
            value = msgspec.json.decode(value)
        setattr(body, _WIRE[wire], value)
    extra = {name: value for name, value in fields.items() if name not in _STRIPPED}
    for name in _OURS:
        if name in extra and codec.joined((extra[name],)) == b"null":  # nothing said under a name of ours
            del extra[name]
    return body, extra or None


def _event(accepted: Accepted, body: Body) -> Event:
    return Event(
        type=accepted.type,
        message_id=accepted.message_id,
        source_id=accepted.source_id,
        channel=accepted.channel,
        received_at=accepted.received_at,
        timestamp=accepted.timestamp,
        original_timestamp=accepted.original_timestamp,
        sent_at=accepted.sent_at,
        anonymous_id=accepted.anonymous_id,
        user_id=accepted.user_id,
        group_id=accepted.group_id,
        previous_id=accepted.previous_id,
        event=body.event if type(body.event) is str and accepted.type == "track" else None,
        name=body.name if type(body.name) is str else None,
        category=body.category if type(body.category) is str else None,
        flags=accepted.flags,
    )


def _fill_context(event: Event, accepted: Accepted | Shared, own: Raw) -> None:
    if accepted.batch_context is not None:
        own = Raw(merge_raw(bytes(accepted.batch_context), _context(event, own)))
    try:
        view = _view(own)
    except msgspec.ValidationError:  # no object
        own = Raw(_context(event, own))
        view = _view(own)
    added = b""
    if view.ip is msgspec.UNSET:
        view.ip = accepted.ip
        if accepted.ip is not None:
            added = b',"ip":' + _encode(accepted.ip)
    if view.user_agent is msgspec.UNSET:
        view.user_agent = accepted.user_agent
        if accepted.user_agent is not None:
            added += b',"userAgent":' + _encode(accepted.user_agent)
    event.context = Raw(extended(own, added)) if added else own
    event.view = view


def _context(event: Event, own: Raw) -> bytes:
    context = codec.joined((own,))
    if context[:1] == b"{":
        return context
    if context not in (b"", b"null"):
        _flag(event, "context_not_object")
    return EMPTY_OBJECT


def extended(raw: Raw, fields: bytes) -> bytes:
    """The object `raw` with more fields (`,"a":1,"b":2`), whose keys the caller knows to be absent."""
    head = codec.joined((raw,)).rstrip()[:-1].rstrip()
    return codec.joined((head, fields if len(head) > 1 else fields[1:], b"}"))


def _fill_bodies(
    event: Event,
    accepted: Accepted | Shared,
    properties: Raw | None,
    traits: Raw | None,
    integrations: Raw | None,
) -> None:
    if properties is not None:
        event.properties = _properties(event, properties)
    if traits is not None:
        event.traits = _object(event, traits, "traits_not_object")
    if integrations is not None:
        event.integrations = _object(event, integrations, "integrations_not_object")
    if accepted.batch_integrations is not None:
        own = EMPTY_OBJECT if event.integrations is None else bytes(event.integrations)
        event.integrations = Raw(merge_raw(bytes(accepted.batch_integrations), own))
    if (
        event.type in _NAMED
        and event.properties is not None
        and (event.name is None or event.category is None)
    ):
        title = _title(event.properties)  # pixels and raw HTTP put both here
        if event.name is None and type(title.name) is str:
            event.name = title.name
        if event.category is None and type(title.category) is str:
            event.category = title.category


def _object(event: Event, raw: Raw, flag: str) -> Raw | None:
    text = codec.joined((raw,))
    if text[:1] == b"{":
        return raw
    if text not in (b"", b"null"):
        _flag(event, flag)
    return None


def _properties(event: Event, raw: Raw) -> Raw | None:
    text = codec.joined((raw,))
    if text[:1] != b"{":
        return _object(event, raw, "properties_not_object")
    return raw if len(text) <= limits.PROPERTIES * _SMALLEST_PROPERTY else _within_limit(event, raw)


def _within_limit(event: Event, properties: Raw) -> Raw:
    fields = _members(properties)
    if len(fields) <= limits.PROPERTIES:
        return properties
    _flag(event, "properties_over_limit")
    kept = list(fields.items())[: limits.PROPERTIES]
    return Raw(_encode(dict(kept)))


def _flag(event: Event, flag: str) -> None:
    event.flags = [*(event.flags or ()), flag]


def merge_raw(outer: bytes, inner: bytes, depth: int = _MERGE_DEPTH) -> bytes:
    """Deep merge of two JSON values without decoding their leaves; `inner` wins wherever both say something."""
    if outer[:1] != b"{" or inner[:1] != b"{" or depth == 0:
        return inner
    merged, own = _members(outer), _members(inner)
    for name, value in own.items():
        below = merged.get(name)
        merged[name] = value if below is None else Raw(merge_raw(bytes(below), bytes(value), depth - 1))
    return _encode(merged)
