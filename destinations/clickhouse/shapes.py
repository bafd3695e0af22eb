"""JSON objects flattened to paths and values, with the pattern of both shared between objects. Pure.

Most objects of one event have the same keys with the same types. That pattern, the `Shape`, is worked out once; rows of
one shape can then be written column by column, and a shape never seen before is where a new column can come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from destinations.clickhouse import names

ValueKind = Literal["number", "bool", "string", "array"]
Path = tuple[str, ...]

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1
MAX_DEPTH = 24  # deeper objects are kept as JSON text in one value
_CACHE = 20_000  # shapes remembered; hostile data must not grow memory

_SCALARS: dict[type, str] = {int: "Int64", float: "Float64", bool: "Bool", str: "String"}
_KINDS: dict[str, ValueKind] = {
    "Int64": "number", "Float64": "number", "Bool": "bool", "String": "string",
}  # fmt: skip


def _ambiguous(json_paths: tuple[str, ...]) -> bool:
    """Whether one path is both a value and an object, or a path has an empty or escaped part: leave it to the engine."""
    known = set(json_paths)
    for path in json_paths:
        if not path or "%" in path or ".." in path or path[0] == "." or path[-1] == ".":
            return True
        cut = path.rfind(".")
        while cut > 0:
            if path[:cut] in known:
                return True
            cut = path.rfind(".", 0, cut)
    return False


class Shape:
    """Paths and engine types of an object's values; compared by identity, so that it is cheap in sets and keys.

    `types` name the engine's type of each value; "" is a value that only the engine's own text parser can type.
    """

    __slots__ = ("columnar", "json_paths", "paths", "plain", "types")

    def __init__(self, paths: tuple[Path, ...], types: tuple[str, ...], *, plain: bool) -> None:
        self.paths, self.types, self.plain = paths, types, plain
        self.json_paths = tuple(names.json_path(path) for path in paths)
        encoded = set(self.json_paths)
        self.columnar = "" not in types and len(encoded) == len(paths) and not _ambiguous(self.json_paths)

    def kinds(self) -> Iterator[tuple[Path, ValueKind]]:
        """Each path with the kind of its value."""
        for path, engine_type in zip(self.paths, self.types, strict=True):
            yield path, _KINDS.get(engine_type, "array")


class Flat(NamedTuple):
    """One object: its shape, its values in the shape's order, and the object itself."""

    shape: Shape
    values: Sequence[Any]
    value: Mapping[str, Any]


EMPTY = Flat(Shape((), (), plain=True), (), {})


class Shapes:
    """Remembers shapes; one per writer."""

    def __init__(self) -> None:
        self._by_types: dict[tuple[object, object], Shape | None] = {}
        self._by_outline: dict[tuple[object, ...], Shape] = {}
        self._by_paths: dict[tuple[object, object], Shape] = {}

    def flatten(self, value: dict[str, Any]) -> Flat:
        """An object's shape and values. `value` holds what a JSON decoder returns."""
        if not value:
            return EMPTY
        key = (tuple(value), tuple(map(type, value.values())))
        shape = self._by_types.get(key)
        if shape is not None:
            return Flat(shape, tuple(value.values()), value)
        if key not in self._by_types:
            self._by_types[key] = shape = self._plain(key)
            if shape is not None:
                return Flat(shape, tuple(value.values()), value)
        return self._nested(value)

    def _plain(self, key: tuple[tuple[str, ...], tuple[type, ...]]) -> Shape | None:
        """The shape of an object of scalars alone; None where values must be looked into."""
        if len(self._by_types) > _CACHE:
            self._by_types.clear()
        keys, types = key
        if any(kind not in _SCALARS for kind in types):
            return None
        return self._interned(
            tuple((name,) for name in keys), tuple(_SCALARS[kind] for kind in types), plain=True
        )

    def _nested(self, value: dict[str, Any]) -> Flat:
        marks: list[object] = []
        values: list[Any] = []
        _outline(value, marks, values)
        outline = tuple(marks)
        shape = self._by_outline.get(outline)
        if shape is None:
            if len(self._by_outline) > _CACHE:
                self._by_outline.clear()
            found = list(leaves(value))
            types = tuple(_SCALARS.get(type(leaf)) or array_type(leaf) for _, leaf in found)
            shape = self._interned(tuple(path for path, _ in found), types, plain=False)
            self._by_outline[outline] = shape
        return Flat(shape, values, value)

    def _interned(self, paths: tuple[Path, ...], types: tuple[str, ...], *, plain: bool) -> Shape:
        shape = self._by_paths.get((paths, types))
        if shape is None:
            if len(self._by_paths) > _CACHE:
                self._by_paths.clear()
            shape = self._by_paths[(paths, types)] = Shape(paths, types, plain=plain)
        return shape


def _outline(value: Mapping[str, Any], marks: list[object], values: list[Any]) -> None:
    """Names and types in the order of `leaves`, and the values: enough to tell two patterns apart, fast to gather."""
    for name, item in value.items():
        kind = type(item)
        if kind is dict:
            marks += (name, dict)
            _outline(item, marks, values)
            marks.append(None)
        elif item is not None:
            marks += (name, array_type(item) if kind is list else kind)
            values.append(item)


def leaves(value: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The values below an object with their paths; null and empty objects are no values."""
    for key, item in value.items():
        if item is None:
            continue
        if type(item) is dict:
            yield from leaves(item, (*above, key))
        else:
            yield (*above, key), item


def array_type(value: Any) -> str:
    """The engine's type of an array of one kind of scalar; "" for any other array (its text is parsed instead)."""
    if type(value) is not list:
        return ""
    kinds = {type(item) for item in value} - {type(None)}
    if len(kinds) != 1:
        return "" if kinds or value else "Array(Nullable(String))"
    scalar = _SCALARS.get(kinds.pop())
    return f"Array(Nullable({scalar}))" if scalar else ""
