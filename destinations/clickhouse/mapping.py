"""A processed event as a row of `events`: pure, and total over whatever the processors can emit.

Rows keep what was decoded; cells are read off many rows at once, column by column. Times are integer milliseconds since
1970, kept within 1900-2299. What has the wrong type for its column is kept as JSON text where the column is text, and is
null otherwise: the original stays in `context`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import astuple

from destinations.clickhouse import contexts, names
from destinations.clickhouse.columns import CONTEXT, TYPED
from destinations.clickhouse.contexts import Contexts
from destinations.clickhouse.shapes import EMPTY, Flat, Path, Shape, Shapes
from destinations.clickhouse.values import as_text
from headwater import codec, timestamps


class Line(Struct, rename="camel"):
    """The common case of a processed event; anything else takes the patient way round."""

    type: str
    message_id: str
    source_id: str
    received_at: str
    timestamp: str
    channel: str = ""
    original_timestamp: str | None = None
    sent_at: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: Raw = Raw(b"{}")
    integrations: Any = None
    flags: list[str] | None = None


class Place(NamedTuple):
    """Where in the log an event stands."""

    partition: int
    offset: int
    line: int


class Row(Struct, frozen=True, gc=False):
    """One row: the event, its context, the two JSON columns, and its place in the log. Cells are worked out from these.

    `further` is the shape of the context's values that have no typed column.
    """

    event: Line
    context: Struct
    further: Shape | None
    properties: Flat
    traits: Flat
    happened_ms: int
    received_ms: int
    place: Place
    loaded_ms: int

    @property
    def message_id(self) -> str:
        """The event's messageId."""
        return self.event.message_id

    @property
    def event_text(self) -> str:
        """The name of a track call's event; empty for other types."""
        return self.event.event or "" if self.event.type == "track" else ""

    @property
    def event_name(self) -> str:
        """The same in snake_case."""
        return names.slug(self.event_text) if self.event_text else ""


_decoder = msgspec.json.Decoder(Line)
_YEAR = re.compile(r"\s*([+-]?\d{4,9})-\d\d")
Decoded = tuple[Line, Struct, Shape | None]


class Mapper:
    """Maps lines to rows, remembering the shapes it has seen."""

    def __init__(self) -> None:
        self.shapes = Shapes()
        self._contexts = Contexts(self.shapes)

    def row(self, line: bytes, place: Place, loaded_ms: int) -> Row:
        """The row of one processed event. Raises ValueError where the line is no JSON object."""
        return self.row_of(*(self.simple(line) or self.patient(line)), place, loaded_ms)

    def simple(self, line: bytes) -> Decoded | None:
        """The event of a line and its context, where all of it is of the usual types."""
        try:
            event = _decoder.decode(line)
            return event, *self._contexts.read(event.context)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def patient(self, line: bytes) -> Decoded:
        """The same from a line with unexpected types, lone surrogates or numbers beyond any float. Raises ValueError."""
        event, context = _salvaged(line)
        return event, *self._contexts.of(context)

    def row_of(
        self, event: Line, context: Struct, further: Shape | None, place: Place, loaded_ms: int
    ) -> Row:
        """The row of a decoded event with its decoded context."""
        received = _shared_moment(event.received_at)
        happened = moment(event.timestamp)
        received = happened if received is None else received
        properties = self.shapes.flatten(event.properties) if event.properties else EMPTY
        traits = self.shapes.flatten(event.traits) if event.traits else EMPTY
        happened = received if happened is None else happened
        return Row(
            event, context, further, properties, traits, happened or 0, received or 0, place, loaded_ms
        )


def columns_of(rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    """The cells of rows, column by column in the order of `columns.TYPED`.

    Context columns that are null in every row are left out; `context` is raw bytes.
    """
    events, parsed, _, _, _, happened, received, places, loaded = zip(*map(astuple, rows), strict=True)
    fields = zip(*map(astuple, events), strict=True)
    found: dict[str, Sequence[Any]] = dict(zip(Line.__struct_fields__, fields, strict=True))
    named = zip(found["type"], found["event"], strict=True)
    texts = [name or "" if kind == "track" else "" for kind, name in named]
    slugs = {text: names.slug(text) if text else "" for text in set(texts)}
    partitions, offsets, numbers = zip(*places, strict=True)
    found |= contexts.columns_of(parsed) | {
        "event": [slugs[text] for text in texts],
        "event_text": texts,
        "timestamp": happened,
        "received_at": received,
        "original_timestamp": list(map(moment, found["original_timestamp"])),
        "sent_at": list(map(_shared_moment, found["sent_at"])),
        "flags": [flags or [] for flags in found["flags"]],
        "log_partition": partitions,
        "log_offset": offsets,
        "log_line": numbers,
        "loaded_at": loaded,
    }
    return {column.name: found[column.name] for column in TYPED if column.name in found}


@lru_cache(maxsize=65_536)
def _second(prefix: str) -> int | None:
    """The time of the first 20 characters of the collector's own spelling."""
    return timestamps.parse(f"{prefix}000Z") if len(prefix) == 20 and prefix[19] == "." else None


_MILLISECONDS = {f"{number:03}Z": number for number in range(1000)}


def moment(text: str | None) -> int | None:
    """Milliseconds since 1970, years kept within 1900-2299; None where the text is no time."""
    if text is None:
        return None
    milliseconds = _MILLISECONDS.get(text[20:])
    if milliseconds is not None and (second := _second(text[:20])) is not None:
        own = second + milliseconds  # the collector's own spelling
        return own if timestamps.MIN_MS <= own <= timestamps.MAX_MS else _kept_within(own)
    ms = timestamps.parse(text)
    if ms is not None:
        return ms
    year = _YEAR.match(text)
    if year is None:
        return None
    if int(year[1]) < 1900:
        return timestamps.MIN_MS
    return timestamps.MAX_MS if int(year[1]) > 2299 else None


def _kept_within(ms: int) -> int:
    return min(max(ms, timestamps.MIN_MS), timestamps.MAX_MS)


_shared_moment = lru_cache(maxsize=4_096)(moment)  # of times that the events of a request share


def _salvaged(line: bytes) -> tuple[Line, dict[str, Any]]:
    value = codec.salvage(line)
    if not isinstance(value, dict):
        raise ValueError(f"an event is a JSON object, not {type(value).__name__}")  # noqa: TRY004 - bad data, not a bad call
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(Line):
        item = value.get(field.encode_name)
        if field.name in ("properties", "traits"):
            fields[field.name] = item if isinstance(item, dict) else None
        elif field.name == "flags":
            fields[field.name] = [as_text(part) or "" for part in item] if isinstance(item, list) else None
        elif field.name == "context":
            continue
        elif field.name == "integrations":
            fields[field.name] = item
        else:
            text = as_text(item)
            fields[field.name] = (text or "") if field.required or field.name == "channel" else text
    context = value.get("context")
    context = context if isinstance(context, dict) else {}
    return Line(**fields, context=Raw(codec.dumps(context))), context


TYPED_PATHS: dict[Path, str] = {column.path: column.name for column in CONTEXT}
