"""Rows of `events` as what the engine is sent: text that is always right, columns where they are equal and faster. Pure.

`text` writes JSONEachRow. `encode` writes Native blocks for the rows whose shapes have simple types and leaves the rest
(arrays of objects, mixed arrays, keys with dots, very rare shapes, integers beyond 64 bits) to `text`. Values are equal
either way; the element type of an array is its own here, while the text parser lets the neighbours in a block decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import orjson

from destinations.clickhouse import native
from destinations.clickhouse.columns import TYPED
from destinations.clickhouse.mapping import Row, columns_of
from destinations.clickhouse.shapes import INT_MAX, INT_MIN, UINT_MAX, Flat, Shape
from headwater import codec, timestamps

EVENT_COLUMNS = (*(column.name for column in TYPED), "properties", "traits")
# Exactly the type of the table: from any other the engine converts through text, which is slow and loses 1.0 for 1.
JSON_TYPE = "JSON(max_dynamic_paths=512)"
MAX_SHAPES = 256  # of one block; the rest, rare ones, go as text
MAX_PATHS = 700  # of one block; more would cost more in headers than the text costs to parse
_TIMES = frozenset(column.name for column in TYPED if column.kind in ("time", "ntime"))
_JSON_COLUMNS = (("properties", attrgetter("properties")), ("traits", attrgetter("traits")))

# What makes the engine's text parser keep values as they are: no dates guessed from strings, a key with a dot stays a key.
TEXT_SETTINGS: Mapping[str, str] = {
    "date_time_input_format": "best_effort",
    "input_format_try_infer_dates": "0",
    "input_format_try_infer_datetimes": "0",
    "json_type_escape_dots_in_keys": "1",
    "type_json_skip_duplicated_paths": "1",
    "input_format_skip_unknown_fields": "0",
    "input_format_defaults_for_omitted_fields": "0",  # left out is blank, also where an operator gave a column a default
}


class Payload(NamedTuple):
    """What one insert sends: an input format, its bytes, and the rows they hold, in the bytes' order."""

    format: Literal["JSONEachRow", "Native"]
    data: bytes
    rows: Sequence[Row]


def text(rows: Sequence[Row]) -> Payload:
    """The rows as JSONEachRow."""
    return Payload("JSONEachRow", b"\n".join(_lines(rows) if rows else ()), rows)


def encode(rows: Sequence[Row]) -> list[Payload]:
    """The rows as Native blocks where that is equal to the text, as text otherwise; every row once."""
    groups: dict[tuple[Shape, Shape], list[Row]] = {}
    plain: list[Row] = []
    for row in rows:
        properties, traits = row.properties.shape, row.traits.shape
        if properties.columnar and traits.columnar:
            groups.setdefault((properties, traits), []).append(row)
        else:
            plain.append(row)
    chosen = _choose(groups, plain)
    payloads = []
    if chosen:
        try:
            payloads.append(columns(chosen))
        except OverflowError:
            plain += [row for group in chosen for row in group if _is_wide(row)]
            narrow = [[row for row in group if not _is_wide(row)] for group in chosen]
            payloads += [columns([group for group in narrow if group])] if any(narrow) else []
    return [*payloads, text(plain)] if plain else payloads


def _choose(groups: dict[tuple[Shape, Shape], list[Row]], plain: list[Row]) -> list[list[Row]]:
    """The commonest groups, within the bounds of a block; the rows of others are added to `plain`."""
    chosen: list[list[Row]] = []
    paths: set[str] = set()
    for (properties, traits), rows in sorted(groups.items(), key=lambda item: -len(item[1])):
        wider = paths.union(properties.json_paths, traits.json_paths)
        if len(chosen) < MAX_SHAPES and len(wider) <= MAX_PATHS:
            chosen.append(rows)
            paths = wider
        else:
            plain += rows
    return chosen


def _is_wide(row: Row) -> bool:
    """Whether a value is an integer beyond Int64, which the text parser gives another type."""
    values = (*row.properties.values, *row.traits.values)
    return any(
        not INT_MIN <= number <= INT_MAX
        for value in values
        for number in (value if type(value) is list else (value,))
        if type(number) is int
    )


def columns(groups: Sequence[Sequence[Row]]) -> Payload:
    """Groups of rows, each of one shape, as one Native block. Raises OverflowError.

    Columns that have their default in every row are left out: the engine fills them in for less than reading them costs.
    """
    rows = [row for group in groups for row in group]
    cells, parts = columns_of(rows), []
    for column in TYPED:
        given = cells.get(column.name)
        encoded = native.COLUMNS[column.kind](given) if given is not None else None
        if encoded is not None:
            parts.append(native.column(column.name, *encoded))
    for name, flat_of in _JSON_COLUMNS:
        json_column = native.JsonColumn()
        for group in groups:
            _add(json_column, list(map(flat_of, group)))
        if json_column:
            parts.append(native.column(name, JSON_TYPE, json_column.data()))
    return Payload("Native", native.block(parts, len(rows)), rows)


def _add(json_column: native.JsonColumn, flats: Sequence[Flat]) -> None:
    shape = flats[0].shape
    values = list(zip(*[flat.values for flat in flats], strict=True)) if shape.paths else []
    json_column.add(shape.json_paths, shape.types, values, len(flats))


def _lines(rows: Sequence[Row]) -> Iterator[bytes]:
    cells = columns_of(rows)
    for name in _TIMES.intersection(cells):
        cells[name] = [None if ms is None else timestamps.iso(ms) for ms in cells[name]]
    cells["context"] = [bytes(raw).decode() for raw in cells["context"]]
    for row, values in zip(rows, zip(*cells.values(), strict=True), strict=True):
        line = {name: value for name, value in zip(cells, values, strict=True) if value is not None}
        line["properties"], line["traits"] = row.properties.value, row.traits.value
        yield _dumped(line)


def _dumped(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line)
    except (orjson.JSONEncodeError, TypeError):
        return codec.dumps(_within_64_bits(line))


def _within_64_bits(value: Any) -> Any:
    """The same value with integers that no engine type holds as their digits."""
    if type(value) is int:
        return value if INT_MIN <= value <= UINT_MAX else str(value)
    if type(value) is list:
        return [_within_64_bits(item) for item in value]
    if type(value) is dict:
        return {key: _within_64_bits(item) for key, item in value.items()}
    return value
