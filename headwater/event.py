"""The event on each side of the log.

`Accepted` is what the collector writes to `events.accepted`: a small server-made header beside the customer's JSON, byte
for byte. `Event` is what processors work on and write to `events.processed` and `events.dropped`: Segment's shape,
typed at the top, bodies kept as raw JSON until somebody asks. Destinations read the same line as a plain dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, final

import msgspec
from msgspec import Raw, Struct

from headwater import codec, timestamps

EventType = Literal["identify", "track", "page", "screen", "group", "alias"]
EVENT_TYPES: frozenset[str] = frozenset(("identify", "track", "page", "screen", "group", "alias"))
Channel = Literal["browser", "server", "mobile"]

NULL = b"null"

if TYPE_CHECKING:
    OptionalRaw = Raw | None
else:
    OptionalRaw = Raw  # msgspec decodes `Raw | None` as "only null"; a plain Raw with the default None does what is meant


class Accepted(Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """One accepted event: what the server knows, and the body as the client sent it.

    Ids are already checked and coerced to strings; the four timestamps are ISO-8601 UTC with milliseconds.
    """

    source_id: str
    channel: Channel
    type: str
    message_id: str
    received_at: str
    timestamp: str
    original_timestamp: str | None = None
    sent_at: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    ip: str | None = None  # to be filled into context.ip where the event brings none
    user_agent: str | None = None  # of the request, for client-side sources
    flags: list[str] | None = None  # e.g. "timestamp_unparsable", "clamped_future"
    batch_context: OptionalRaw = None  # the envelope's, merged below the event's own
    batch_integrations: OptionalRaw = None
    body: Raw = Raw(b"{}")


class ContextView(Struct, rename="camel"):
    """The parts of `context` that processors ask for; wrong types are simply absent."""

    ip: Any = None
    user_agent: Any = None
    group_id: Any = None
    traits: OptionalRaw = None
    signals: OptionalRaw = None  # what the browser SDK saw of its browser


T = TypeVar("T")


class _Once(Generic[T]):
    """`functools.cached_property` for events, without the lock it takes in Python 3.11."""

    def __init__(self, find: Callable[[Event], T]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, event: Event, owner: type) -> T:
        value = event.__dict__[self._name] = self._find(event)
        return value


class Event(Struct, rename="camel", omit_defaults=True, kw_only=True, dict=True):
    """An event inside the processors; encode with `encode`, never by hand."""

    type: str
    message_id: str
    source_id: str
    channel: str
    received_at: str
    timestamp: str
    original_timestamp: str | None = None
    sent_at: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    properties: OptionalRaw = None
    traits: OptionalRaw = None
    context: Raw = Raw(b"{}")
    integrations: OptionalRaw = None
    flags: list[str] | None = None
    extra: dict[str, Raw] | None = None  # top-level keys the contract does not know, kept for the archive

    @_Once
    def view(self) -> ContextView:
        """The typed part of the context (decoded once)."""
        return context_view(self.context)

    @_Once
    def time_ms(self) -> int:
        """`timestamp` in milliseconds since 1970."""
        return timestamps.parse(self.timestamp) or 0

    @_Once
    def received_ms(self) -> int:
        """`receivedAt` in milliseconds since 1970."""
        return timestamps.parse(self.received_at) or 0

    def add_context(self, key: str, value: bytes) -> None:
        """Set one key of `context` to a JSON value, without decoding the rest."""
        self.context = Raw(codec.splice(self.context, key, value))


class EventDict(TypedDict, total=False):
    """A processed event as destinations see it (SPEC: Segment's common fields plus what Headwater knows)."""

    type: str
    messageId: str
    sourceId: str
    channel: str
    receivedAt: str
    timestamp: str
    originalTimestamp: str
    sentAt: str
    anonymousId: str
    userId: str
    groupId: str
    previousId: str
    event: str
    name: str
    category: str
    properties: dict[str, Any]
    traits: dict[str, Any]
    context: dict[str, Any]
    integrations: dict[str, Any]


@final
class Drop(Struct, frozen=True):
    """A processor's verdict that an event goes no further; `reason` is a stable code."""

    reason: str
    detail: str = ""


class DroppedLine(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One line of `events.dropped`: the reason and the whole event, so that every drop can be recovered."""

    reason: str
    processor: str
    detail: str = ""
    dropped_at: str = ""
    event: Raw = Raw(b"{}")


WIRE_KEYS: frozenset[str] = frozenset(Event.__struct_encode_fields__)

_encoder = msgspec.json.Encoder()
_accepted_decoder = msgspec.json.Decoder(Accepted)
_event_decoder = msgspec.json.Decoder(Event)
_view_decoder = msgspec.json.Decoder(ContextView)
_dict_decoder = msgspec.json.Decoder(dict[str, Raw])


def context_view(context: Raw | bytes) -> ContextView:
    """The typed part of a raw context; a context that is no object has none."""
    try:
        return _view_decoder.decode(context)
    except msgspec.ValidationError:
        return ContextView()


def encode_accepted(accepted: Accepted) -> bytes:
    """One NDJSON line (without the line break)."""
    return _encoder.encode(accepted)


def decode_accepted(line: bytes) -> Accepted:
    """The inverse of `encode_accepted`. Raises msgspec.DecodeError."""
    return _accepted_decoder.decode(line)


def encode(event: Event, scratch: bytearray) -> bytes:
    """The canonical JSON object of a processed event, on one line.

    `scratch` is the caller's, used again and again: its content is lost, and a buffer need not grow anew for each event.
    """
    if event.extra:
        return _encode_with_extra(event, event.extra)
    _encoder.encode_into(event, scratch)
    return bytes(scratch)


def _encode_with_extra(event: Event, extra: dict[str, Raw]) -> bytes:
    event.extra = None
    line = _encoder.encode(event)
    event.extra = extra
    if WIRE_KEYS.isdisjoint(extra):
        return b"%b,%b" % (line[:-1], _encoder.encode(extra)[1:])
    known = _dict_decoder.decode(line)
    fresh = {key: value for key, value in extra.items() if key not in known}
    return _encoder.encode({**known, **fresh})


def decode(line: bytes) -> Event:
    """A processed event from its line. Raises msgspec.DecodeError."""
    return _event_decoder.decode(line)


def lines(value: bytes | None) -> Iterator[bytes]:
    """The events of one log record: its NDJSON lines."""
    return iter(value.split(b"\n")) if value else iter(())
