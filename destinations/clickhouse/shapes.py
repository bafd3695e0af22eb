"""JSON objects flattened to paths and values, with the pattern of both shared between objects. Pure.

Most objects of one event have the same keys with the same types. That pattern, the `Shape`, is worked out once; rows of
one shape can then be written column by column, and a shape never seen before is where a new column can come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from destinations.clickhouse import names

ValueKind = Literal["number", "bool", "string", "array"]
Path = tuple[str, ...]

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1
_CACHE = 20_000  # shapes remembered; hostile data must not grow memory

_SCALARS: dict[type, str] = {int: "Int64", float: "Float64", bool: "Bool", str: "String"}
_ARRAYS = {kind: f"Array(Nullable({scalar}))" for kind, scalar in _SCALARS.items()}
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


class Flat(Struct, frozen=True, gc=False):
    """One object: its shape, its values in the shape's order, and the object itself."""

    shape: Shape
    values: Sequence[Any]
    value: Mapping[str, Any]


EMPTY = Flat(Shape((), (), plain=True), (), {})


class Level:
    """Names and types of an object whose values must be looked into; compared by identity, like a shape."""

    __slots__ = ("into",)

    def __init__(self, types: Sequence[type]) -> None:
        # from the last on: what is put in the place of one leaves those before it where they are
        self.into = [at for at, kind in enumerate(types) if kind not in _SCALARS][::-1]


class Shapes:
    """Remembers shapes; one per writer."""

    def __init__(self) -> None:
        self._by_types: dict[tuple[object, object], Shape | Level] = {}
        self._by_outline: dict[tuple[object, ...], Shape] = {}
        self._by_paths: dict[tuple[object, object], Shape] = {}

    def flatten(self, value: dict[str, Any]) -> Flat:
        """An object's shape and values. `value` holds what a JSON decoder returns."""
        if not value:
            return EMPTY
        outline, values = self._outline(value)
        if type(outline) is Shape:
            return Flat(outline, values, value)
        shape = self._by_outline.get(outline)
        return Flat(self._nested(outline, value) if shape is None else shape, values, value)

    def _outline(self, value: Mapping[str, Any]) -> tuple[Any, Sequence[Any]]:
        """What tells an object's pattern from others, a shape if it is flat, and the values in the order of `leaves`."""
        given = tuple(value.values())
        key = (tuple(value), tuple(map(type, given)))
        level = self._by_types.get(key)
        if level is None:
            level = self._level(*key)
        if type(level) is Shape:
            return level, given
        outline, values = [level], list(given)
        for at in level.into:  # type: ignore[union-attr]
            item = given[at]
            if type(item) is dict:
                below, values[at : at + 1] = self._outline(item)
                outline.append(below)
            elif item is None:
                del values[at]
            else:
                outline.append(array_type(item))  # type: ignore[arg-type]
        return tuple(outline), values

    def _level(self, keys: tuple[str, ...], types: tuple[type, ...]) -> Shape | Level:
        """What is remembered of an object's names and types: the shape where all values are scalars."""
        if len(self._by_types) > _CACHE:
            self._by_types.clear()
        found: Shape | Level
        if any(kind not in _SCALARS for kind in types):
            found = Level(types)
        else:
            paths = tuple((name,) for name in keys)
            found = self._interned(paths, tuple(_SCALARS[kind] for kind in types), plain=True)
        self._by_types[keys, types] = found
        return found

    def _nested(self, outline: tuple[object, ...], value: Mapping[str, Any]) -> Shape:
        if len(self._by_outline) > _CACHE:
            self._by_outline.clear()
        found = list(leaves(value))
        types = tuple(_SCALARS.get(type(leaf)) or array_type(leaf) for _, leaf in found)
        shape = self._by_outline[outline] = self._interned(
            tuple(path for path, _ in found), types, plain=False
        )
        return shape

    def _interned(self, paths: tuple[Path, ...], types: tuple[str, ...], *, plain: bool) -> Shape:
        shape = self._by_paths.get((paths, types))
        if shape is None:
            if len(self._by_paths) > _CACHE:
                self._by_paths.clear()
            shape = self._by_paths[(paths, types)] = Shape(paths, types, plain=plain)
        return shape


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
    kinds = set(map(type, value))
    kinds.discard(type(None))
    if len(kinds) != 1:
        return "" if kinds or value else "Array(Nullable(String))"
    return _ARRAYS.get(kinds.pop(), "")
