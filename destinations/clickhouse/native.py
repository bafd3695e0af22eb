"""ClickHouse's Native format, as far as loading needs it: typed columns, and JSON columns as flattened paths. Pure.

A JSON column given as paths with typed values costs the engine a third of parsing its text. The layout was read off the
engine's own output under `output_format_native_use_flattened_dynamic_and_json_serialization`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from msgspec import Raw

from destinations.clickhouse.columns import Kind

_FLATTENED = (3).to_bytes(8, "little")
_SHORT = [bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7]) for n in range(16_384)]
_SHORT_TEXT = [chr(n) for n in range(128)]


def varint(number: int) -> bytes:
    """An unsigned LEB128 number."""
    if number < 16_384:
        return _SHORT[number]
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def strings(values: Sequence[str]) -> bytes:
    """A String column."""
    parts = [""] * (2 * len(values))
    parts[1::2] = values
    try:
        parts[::2] = map(_SHORT_TEXT.__getitem__, map(len, values))
    except IndexError:
        return texts([value.encode() for value in values])
    text = "".join(parts)
    # of ASCII a character is a byte: joined before they are encoded, values take half the time
    return text.encode() if text.isascii() else texts([value.encode() for value in values])


def texts(values: Sequence[bytes | Raw]) -> bytes:
    """A String column of encoded text."""
    parts: list[Any] = [b""] * (2 * len(values))
    parts[1::2] = values
    try:
        parts[::2] = map(_SHORT.__getitem__, map(len, values))
    except IndexError:
        parts[::2] = [varint(len(value)) for value in values]
    return b"".join(parts)


def _integers(code: str) -> Callable[[Sequence[int]], bytes]:
    return lambda values: array(code, values).tobytes()


_int64, _uint64, _float64 = _integers("q"), _integers("Q"), _integers("d")


def _bools(values: Sequence[bool]) -> bytes:
    return bytes(values)


def _nullable(encode: Callable[[Sequence[Any]], bytes], blank: object) -> Callable[[Sequence[Any]], bytes]:
    def encoded(values: Sequence[Any]) -> bytes:
        nulls = values.count(None)
        if nulls == 0:
            return bytes(len(values)) + encode(values)
        if nulls == len(values):
            return b"\x01" * nulls + encode([blank]) * nulls
        flags = bytes([value is None for value in values])
        return flags + encode([blank if value is None else value for value in values])

    return encoded


def _arrays(encode: Callable[[Sequence[Any]], bytes]) -> Callable[[Sequence[Any]], bytes]:
    def encoded(values: Sequence[Any]) -> bytes:
        offsets, end = array("Q"), 0
        for value in values:
            end += len(value)
            offsets.append(end)
        return offsets.tobytes() + encode(list(chain.from_iterable(values)))

    return encoded


SCALARS: dict[str, tuple[Callable[[Sequence[Any]], bytes], object]] = {
    "String": (strings, ""),
    "Int64": (_int64, 0),
    "Float64": (_float64, 0.0),
    "Bool": (_bools, False),
}
DYNAMIC: dict[str, Callable[[Sequence[Any]], bytes]] = {
    name: encode for name, (encode, _) in SCALARS.items()
} | {
    f"Array(Nullable({name}))": _arrays(_nullable(encode, blank)) for name, (encode, blank) in SCALARS.items()
}

# An engine type and data of it; None where every row has the engine's default.
Encoded = tuple[str, bytes] | None
_KEYED = (1).to_bytes(8, "little")  # the version of LowCardinality's form
_KEYS_HERE = 0x600  # its flags: the keys are in the block, and are all there are
_SAMPLE = 64  # values that are looked at to tell whether a column repeats itself


def labels(values: Sequence[str | None], *, nullable: bool = False) -> Encoded:
    """A LowCardinality column, whatever the table's is: each value once, then the number of each row's."""
    first = values[0]
    alike = values.count(first) == len(values)
    if alike and first == (None if nullable else ""):
        return None
    keys: dict[str | None, None] = {None: None} if nullable else {}  # the first key stands for null
    keys |= dict.fromkeys(values[:1] if alike else values)
    width = 0 if len(keys) < 256 else 1 if len(keys) < 65_536 else 2
    numbers = dict(zip(keys, range(len(keys)), strict=True))
    rows = array("BHI"[width], [numbers[first]] if alike else map(numbers.__getitem__, values))
    parts = (
        _KEYED,
        (_KEYS_HERE | width).to_bytes(8, "little"),
        len(keys).to_bytes(8, "little"),
        strings([key or "" for key in keys]),
        len(values).to_bytes(8, "little"),
        (rows * len(values) if alike else rows).tobytes(),
    )
    return f"LowCardinality({'Nullable(String)' if nullable else 'String'})", b"".join(parts)


def _words(values: Sequence[str | None]) -> Encoded:
    """A nullable column of text: by keys where values come again and again."""
    if len(set(values[:_SAMPLE])) <= len(values[:_SAMPLE]) // 4:
        return labels(values, nullable=True)
    return _sparse("String", strings, "")(values)


def _plain(engine_type: str, encode: Callable[[Sequence[Any]], bytes]) -> Callable[[Sequence[Any]], Encoded]:
    return lambda values: (engine_type, encode(values))


def _sparse(
    engine_type: str, encode: Callable[[Sequence[Any]], bytes], blank: object
) -> Callable[[Sequence[Any]], Encoded]:
    """A nullable column; without marks of what is null where nothing is."""
    marked = _nullable(encode, blank)

    def encoded(values: Sequence[Any]) -> Encoded:
        nulls = values.count(None)
        if nulls == len(values):
            return None
        return (f"Nullable({engine_type})", marked(values)) if nulls else (engine_type, encode(values))

    return encoded


def _flags(values: Sequence[Sequence[str]]) -> Encoded:
    return ("Array(String)", _arrays(strings)(values)) if any(values) else None


COLUMNS: dict[Kind, Callable[[Sequence[Any]], Encoded]] = {
    "label": labels,
    "string": _plain("String", strings),
    "raw": _plain("String", texts),
    "text": _words,
    "nlabel": partial(labels, nullable=True),
    "json": _words,
    "time": _plain("DateTime64(3, 'UTC')", _int64),
    "ntime": _sparse("DateTime64(3, 'UTC')", _int64, 0),
    "number": _sparse("Float64", _float64, 0.0),
    "bool": _sparse("Bool", _bools, False),
    "labels": _flags,
    "u16": _plain("UInt16", _integers("H")),
    "u32": _plain("UInt32", _integers("I")),
    "u64": _plain("UInt64", _uint64),
}


def column(name: str, engine_type: str, data: bytes) -> bytes:
    """One column of a block: its header and its data."""
    return b"".join((_text(name), _text(engine_type), data))


def block(columns: Sequence[bytes], rows: int) -> bytes:
    """A block of columns that have `rows` rows each."""
    return b"".join((varint(len(columns)), varint(rows), *columns))


class JsonColumn:
    """A JSON column, built from runs of rows that share a shape. Raises OverflowError for integers beyond 64 bits."""

    def __init__(self) -> None:
        self._rows = 0
        self._paths: dict[str, list[tuple[int, int, str, Sequence[Any]]]] = {}

    def add(
        self, paths: Sequence[str], types: Sequence[str], columns: Sequence[Sequence[Any]], rows: int
    ) -> None:
        """Append `rows` rows; `columns` holds the values of each path."""
        for path, engine_type, values in zip(paths, types, columns, strict=True):
            self._paths.setdefault(path, []).append((self._rows, rows, engine_type, values))
        self._rows += rows

    def __bool__(self) -> bool:
        """Whether any row has a value."""
        return bool(self._paths)

    def data(self) -> bytes:
        """The column's data."""
        paths = sorted(self._paths)
        parts = [_FLATTENED, varint(len(paths)), *(_text(path) for path in paths)]
        kinds = {path: sorted({run[2] for run in self._paths[path]}) for path in paths}
        for path in paths:
            parts += (_FLATTENED, varint(len(kinds[path])), *(_text(kind) for kind in kinds[path]))
        for path in paths:
            parts += self._values(self._paths[path], kinds[path])
        return b"".join(parts)

    def _values(self, runs: list[tuple[int, int, str, Sequence[Any]]], kinds: list[str]) -> list[bytes]:
        """Which type each row has (one past the last type is "none"), then the values type by type."""
        none, at = bytes([len(kinds)]), 0
        parts: list[bytes] = []
        for start, rows, kind, _ in runs:
            parts += (none * (start - at), bytes([kinds.index(kind)]) * rows)
            at = start + rows
        parts.append(none * (self._rows - at))
        parts += (DYNAMIC[kind](run[3]) for kind in kinds for run in [_joined(runs, kind)])
        return parts


def _joined(
    runs: list[tuple[int, int, str, Sequence[Any]]], kind: str
) -> tuple[int, int, str, Sequence[Any]]:
    chosen = [run[3] for run in runs if run[2] == kind]
    values = chosen[0] if len(chosen) == 1 else list(chain.from_iterable(chosen))
    return 0, len(values), kind, values


def _text(value: str) -> bytes:
    raw = value.encode()
    return varint(len(raw)) + raw
