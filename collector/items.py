"""One event as the contract types it: the strict decode of the hot path, and the lenient one that finds what is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from collector import ids, nesting
from headwater import codec, limits, timestamps
from headwater.event import EVENT_TYPES, OptionalRaw

Scalar = str | int | float | None


class Anything(Struct, gc=False):
    """Some JSON object; its keys are skipped, not decoded."""


class Context(Struct, gc=False):
    """The one part of `context` that decides something here."""

    direct: Any = None


class Item(Struct, rename="camel", gc=False):
    """The fields the contract says something about; bodies are only checked to be objects.

    Ids and times that are numbers fail this decode and take the next one (`Numbered`), which coerces them: unions cost the
    hot path a microsecond an event.
    """

    # In the order that SDKs write them, as far as they agree: the decoder looks for a key where the last one stood.
    type: str | None = None
    event: str | None = None
    message_id: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    timestamp: str | None = None
    properties: Anything | None = None
    traits: Anything | None = None
    context: Context | None = None
    integrations: Anything | None = None
    group_id: str | None = None
    previous_id: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    name: str | None = None
    category: str | None = None


class Single(Item, rename="camel", gc=False):
    """A whole request that is one event, with the key it may carry: read once for both."""

    write_key: Any = None


class Numbered(Struct, rename="camel", gc=False):
    """The same fields, where ids and times may be numbers: those of programs in PHP and Ruby often are."""

    type: str | None = None
    event: str | None = None
    message_id: Scalar = None
    anonymous_id: Scalar = None
    user_id: Scalar = None
    timestamp: Scalar = None
    properties: Anything | None = None
    traits: Anything | None = None
    context: Context | None = None
    integrations: Anything | None = None
    group_id: Scalar = None
    previous_id: Scalar = None
    original_timestamp: Scalar = None
    sent_at: Scalar = None
    name: str | None = None
    category: str | None = None


class Loose(Struct, rename="camel"):
    """The same fields with any types."""

    type: Any = None
    message_id: Any = None
    anonymous_id: Any = None
    user_id: Any = None
    group_id: Any = None
    previous_id: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    event: Any = None
    name: Any = None
    category: Any = None
    properties: OptionalRaw = None
    traits: OptionalRaw = None
    integrations: OptionalRaw = None
    context: OptionalRaw = None


class Rejected(Struct, rename="camel", omit_defaults=True):
    """One entry of an answer's `rejected` list."""

    index: int
    message_id: str | None
    code: str
    message: str = ""


decode = msgspec.json.Decoder(Item).decode
_single = msgspec.json.Decoder(Single).decode
_numbered = msgspec.json.Decoder(Numbered).decode
_loose = msgspec.json.Decoder(Loose).decode
_context = msgspec.json.Decoder(Context).decode
_IDS = ("user_id", "anonymous_id", "group_id", "previous_id")
_WIRE = dict(zip(Item.__struct_fields__, Item.__struct_encode_fields__, strict=True))
_TIMES = ("timestamp", "original_timestamp", "sent_at")
_OBJECTS = (
    ("properties", "properties_not_object"),
    ("traits", "traits_not_object"),
    ("context", "bad_request"),
    ("integrations", "bad_request"),
)
_TEXTS = (
    ("event", "event_not_string"),
    ("name", "name_not_string"),
    ("category", "category_not_string"),
    ("type", "bad_request"),
)


def single(text: bytes) -> Single | None:
    """The event of a request by itself; None where anything about it is not as the contract types it."""
    try:
        return _single(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def numbered(raw: Raw) -> Item | None:
    """The item, where nothing but numbers as ids or times failed its strict decode: what `diagnose` makes of it, sooner."""
    try:
        found = _numbered(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return Item(
        type=found.type,
        event=found.event,
        message_id=_id(found.message_id),
        anonymous_id=_id(found.anonymous_id),
        user_id=_id(found.user_id),
        timestamp=_time(found.timestamp),
        context=found.context,
        group_id=_id(found.group_id),
        previous_id=_id(found.previous_id),
        original_timestamp=_time(found.original_timestamp),
        sent_at=_time(found.sent_at),
        name=found.name,
        category=found.category,
    )


def _id(value: Scalar) -> str | None:
    return value if value is None or type(value) is str else ids.canonical(value)


def diagnose(raw: bytes, index: int) -> Item | Rejected:
    """An item whose strict decode failed: what is wrong with it, or the item where only a time was malformed."""
    try:
        loose = _loose(raw)
    except (msgspec.ValidationError, RecursionError):
        return Rejected(
            index, None, "bad_request", "an event must be a JSON object within the range of numbers"
        )
    if (problem := _problem(loose)) is not None:
        return Rejected(index, text_of(loose.message_id), *problem)
    context = loose.context
    fields: dict[str, Any] = {name: getattr(loose, name) for name in ("type", "event", "name", "category")}
    for name in ("message_id", *_IDS):
        value = getattr(loose, name)
        fields[name] = None if value is None else ids.canonical(value)
    fields.update((name, _time(getattr(loose, name))) for name in _TIMES)
    fields["context"] = None if context is None else _readable(context)
    return Item(**fields)


def without_empty_arrays(raw: Raw) -> Raw:
    """The item with `{}` for each `[]` where an object belongs: PHP writes its empty arrays so, also those that are maps."""
    if b"[]" not in bytes(raw):
        return raw
    try:
        loose = _loose(raw)
    except (msgspec.ValidationError, RecursionError):
        return raw
    text = bytes(raw)
    for name, _ in _OBJECTS:
        value: Raw | None = getattr(loose, name)
        if value is not None and bytes(value) == b"[]":
            text = codec.splice(text, name, codec.EMPTY_OBJECT)
    return Raw(text)


def _readable(context: Raw) -> Context | None:
    """What a context decides here; nothing where it says `direct` with a number beyond any double, or is no object."""
    try:
        return _context(context) if codec.is_object(context) else None
    except msgspec.ValidationError:
        return None


def message_id_of(raw: bytes) -> str | None:
    """The messageId of an item that is refused unread, if it can be found."""
    if len(raw) > limits.BATCH_BYTES or nesting.too_deep(raw):
        return None
    try:
        return text_of(_loose(raw).message_id)
    except (msgspec.ValidationError, RecursionError):
        return None


def text_of(value: object) -> str | None:
    """A messageId for an answer: cut, so that a hostile one cannot swell it."""
    return value[: limits.MESSAGE_ID_CHARS] if isinstance(value, str) else None


def fault(kind: str | None, item: Item) -> tuple[str, str] | None:  # noqa: PLR0911 - a list of rules
    """The contract's rules for one event, whose ids are strings or None; a code and a message, or None."""
    if kind not in EVENT_TYPES:
        return (
            "bad_request",
            f"type {str(kind)[:40]!r} is none of identify, track, page, screen, group, alias",
        )
    user, anonymous, group, previous = item.user_id, item.anonymous_id, item.group_id, item.previous_id
    if kind == "alias":
        if not (user and previous):
            return "id_required", "alias needs userId and previousId"
    elif not (user or anonymous):
        return "no_user_anon_id", "userId or anonymousId is needed"
    # One by one: a loop over the four takes a third of all the time spent here.
    if (
        (user and len(user) > limits.ID_CHARS)
        or (anonymous and len(anonymous) > limits.ID_CHARS)
        or (group and len(group) > limits.ID_CHARS)
        or (previous and len(previous) > limits.ID_CHARS)
    ):
        return "id_too_long", f"an id has more than {limits.ID_CHARS} characters"
    if kind == "group" and not group:
        return "id_required", "group needs groupId"
    if (event := item.event) is not None and len(event) > limits.EVENT_NAME_CHARS:
        return "event_too_long", f"event has more than {limits.EVENT_NAME_CHARS} characters"
    if kind == "track" and not event:
        return "event_not_defined", "track needs a non-empty event"
    if (message_id := item.message_id) is not None and len(message_id) > limits.MESSAGE_ID_CHARS:
        return "message_id_too_long", f"messageId has more than {limits.MESSAGE_ID_CHARS} characters"
    return None


def _problem(loose: Loose) -> tuple[str, str] | None:
    for name in ("message_id", *_IDS):
        value = getattr(loose, name)
        if isinstance(value, bool) or not isinstance(value, Scalar):
            return "id_not_string", f"{_WIRE[name]} is neither a string nor a number"
    for name, code in _TEXTS:
        if not isinstance(getattr(loose, name), str | None):
            return code, f"{name} is not a string"
    for name, code in _OBJECTS:
        raw = getattr(loose, name)
        if raw is not None and not codec.is_object(raw) and bytes(raw).strip() != b"null":
            return code, f"{name} is not an object"
    return None


def _time(value: object) -> str | None:
    """A time as text: numbers in their own form, other types as text that no parser reads, so that they are flagged."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        return "unparsable"
    if isinstance(value, int | float):
        ms = timestamps.parse(value)
        return "unparsable" if ms is None else timestamps.iso(ms)
    return value
