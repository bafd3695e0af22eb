"""ClickHouse's Native format, as far as loading needs it: typed columns, and JSON columns as flattened paths. Pure.

A JSON column given as paths with typed values costs the engine a third of parsing its text. The layout was read off the
engine's own output under `output_format_native_use_flattened_dynamic_and_json_serialization`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from destinations.clickhouse.columns import Kind

_FLATTENED = (3).to_bytes(8, "little")
_SHORT = [bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7]) for n in range(16_384)]


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
    raw = [value.encode() for value in values]
    try:
        sizes = [_SHORT[len(item)] for item in raw]
    except IndexError:
        sizes = [varint(len(item)) for item in raw]
    return b"".join(chain.from_iterable(zip(sizes, raw, strict=True)))


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
_nullable_strings = _nullable(strings, "")
# On the wire labels are plain strings; the engine builds its dictionaries itself.
COLUMNS: dict[Kind, tuple[str, Callable[[Sequence[Any]], bytes]]] = {
    "label": ("String", strings),
    "string": ("String", strings),
    "text": ("Nullable(String)", _nullable_strings),
    "nlabel": ("Nullable(String)", _nullable_strings),
    "json": ("Nullable(String)", _nullable_strings),
    "time": ("DateTime64(3, 'UTC')", _int64),
    "ntime": ("Nullable(DateTime64(3, 'UTC'))", _nullable(_int64, 0)),
    "number": ("Nullable(Float64)", _nullable(_float64, 0.0)),
    "bool": ("Nullable(Bool)", _nullable(_bools, False)),
    "labels": ("Array(String)", _arrays(strings)),
    "u16": ("UInt16", _integers("H")),
    "u32": ("UInt32", _integers("I")),
    "u64": ("UInt64", _uint64),
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
