"""A processed event as a row of `events`: pure, and total over whatever the processors can emit.

Cells stand in the order of `columns.TYPED`. Times are integer milliseconds since 1970, kept within 1900-2299. What has the
wrong type for its column is kept as JSON text where the column is text, and is null otherwise: the original stays in
`context`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from destinations.clickhouse import names
from destinations.clickhouse.columns import CONTEXT, TOP, Kind
from destinations.clickhouse.shapes import Flat, Path, Shape, Shapes
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


class Row(NamedTuple):
    """One row: typed cells, the two JSON columns, context values that have no typed column, and its place in the log."""

    cells: list[Any]
    properties: Flat
    traits: Flat
    further: Shape | None
    place: Place

    @property
    def message_id(self) -> str:
        """The event's messageId."""
        return str(self.cells[5])


_decoder = msgspec.json.Decoder(Line)
_object_decoder = msgspec.json.Decoder(dict[str, Any])
_BLANK: list[Any] = [None] * len(CONTEXT)
_START = len(TOP)
_YEAR = re.compile(r"\s*([+-]?\d{4,9})-\d\d")
_TIME_FIELDS = ("received_at", "timestamp", "original_timestamp", "sent_at")


class Mapper:
    """Maps lines to rows, remembering the shapes it has seen."""

    def __init__(self) -> None:
        self.shapes = Shapes()

    def row(self, line: bytes, place: Place, loaded_ms: int) -> Row:
        """The row of one processed event. Raises ValueError where the line is no JSON object."""
        event, context = simple(line) or patient(line)
        return self.row_of(event, context, place, loaded_ms)

    def row_of(self, event: Line, context: dict[str, Any], place: Place, loaded_ms: int) -> Row:
        """The row of a decoded event with its decoded context."""
        received = moment(event.received_at)
        happened = moment(event.timestamp)
        received = happened if received is None else received
        name = event.event or "" if event.type == "track" else ""
        cells: list[Any] = [
            event.type,
            names.slug(name) if name else "",
            name,
            (received if happened is None else happened) or 0,
            event.source_id,
            event.message_id,
            received or 0,
            moment(event.original_timestamp),
            moment(event.sent_at),
            event.anonymous_id,
            event.user_id,
            event.group_id,
            event.previous_id,
            event.channel,
            event.name,
            event.category,
            event.flags or [],
        ]
        cells += _BLANK
        further = self._fill(cells, context)
        cells += (_text_of(event.context), *place, loaded_ms)
        return Row(
            cells,
            self.shapes.flatten(event.properties or {}),
            self.shapes.flatten(event.traits or {}),
            further,
            place,
        )

    def _fill(self, cells: list[Any], context: dict[str, Any]) -> Shape | None:
        """Put the context's values into their cells; the shape of those that have none."""
        further: dict[str, Any] | None = None
        for key, value in context.items():
            plan = _PLAN.get(key)
            if plan is None or (type(plan) is dict and type(value) is not dict):
                further = further or {}
                further[key] = value
            elif type(plan) is dict:
                rest = None
                for inner, item in value.items():
                    slot = plan.get(inner)
                    if slot is not None:
                        cells[slot[0]] = item if type(item) is slot[1] else slot[2](item)
                    else:
                        rest = rest or {}
                        rest[inner] = item
                if rest:
                    further = further or {}
                    further[key] = rest
            else:
                cells[plan[0]] = value if type(value) is plan[1] else plan[2](value)
        return self.shapes.flatten(further).shape if further else None


def _text_of(raw: Raw) -> str:
    return str(bytes(raw), "utf-8", "replace")


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
        return second + milliseconds  # the collector's own spelling: four times an event
    ms = timestamps.parse(text)
    if ms is not None:
        return ms
    year = _YEAR.match(text)
    if year is None:
        return None
    if int(year[1]) < 1900:
        return timestamps.MIN_MS
    return timestamps.MAX_MS if int(year[1]) > 2299 else None


def simple(line: bytes) -> tuple[Line, dict[str, Any]] | None:
    """The event of a line and its context, where all of it is of the usual types."""
    try:
        event = _decoder.decode(line)
        return event, _object_decoder.decode(event.context)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def patient(line: bytes) -> tuple[Line, dict[str, Any]]:
    """The same from a line with unexpected types, lone surrogates or numbers beyond any float. Raises ValueError."""
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


def as_text(value: Any) -> str | None:
    """A text cell: strings as they are, anything else as its JSON; null stays null."""
    if value is None or type(value) is str:
        return value
    return codec.dumps(value).decode()


def as_number(value: Any) -> float | None:
    """A number cell: numbers and numeric strings; anything else is null."""
    if type(value) is bool or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_bool(value: Any) -> bool | None:
    """A boolean cell: true, false and their usual spellings; anything else is null."""
    if type(value) is bool:
        return value
    text = str(value).strip().lower() if isinstance(value, int | float | str) else ""
    if text in ("true", "1", "1.0"):
        return True
    return False if text in ("false", "0", "0.0") else None


Slot = tuple[int, type, Callable[[Any], Any]]
_CONVERT: dict[Kind, tuple[type, Callable[[Any], Any]]] = {
    "text": (str, as_text),
    "nlabel": (str, as_text),
    "json": (str, as_text),
    "number": (float, as_number),
    "bool": (bool, as_bool),
}


def _plan() -> dict[str, Any]:
    plan: dict[str, Any] = {}
    for index, column in enumerate(CONTEXT, start=_START):
        slot: Slot = (index, *_CONVERT[column.kind])
        if len(column.path) == 1:
            plan[column.path[0]] = slot
        else:
            plan.setdefault(column.path[0], {})[column.path[1]] = slot
    return plan


_PLAN = _plan()
TYPED_PATHS: dict[Path, str] = {column.path: column.name for column in CONTEXT}
