"""An event's `context` as structs with a field for every typed column. Pure.

Decoding straight into fields costs half of decoding a dict and looking its values up, and a column of many events is then
read field by field. The structs refuse keys that they do not know, because a value without a column still makes a
column of a view; so such keys get a field of their own once they have been seen, up to a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, ValidationError
from msgspec.structs import astuple

from destinations.clickhouse import values
from destinations.clickhouse.columns import CONTEXT, Column
from destinations.clickhouse.shapes import Path, Shape, Shapes

MAX_LEARNED = 64  # keys without a column that get a field; an event with further ones is decoded as a dict
_REMEMBERED = 20_000
_STRUCT: dict[str, Any] = {"frozen": True, "forbid_unknown_fields": True, "gc": False, "eq": False}
_ANY_TYPE = frozenset(["account"])  # traits, which may be anything although their columns are text

_PLAIN = {column.path[0]: column for column in CONTEXT if len(column.path) == 1}
_OBJECTS: dict[str, dict[str, Column]] = {}
for _column in CONTEXT:
    if len(_column.path) == 2:
        _OBJECTS.setdefault(_column.path[0], {})[_column.path[1]] = _column


def _is_text(column: Column) -> bool:
    """Whether the field takes nothing but text and null, so that its values are cells as they are."""
    return column.kind in ("text", "nlabel") and column.path[0] not in _ANY_TYPE


class Contexts:
    """Decodes contexts, remembering the keys it has seen."""

    def __init__(self, shapes: Shapes) -> None:
        self._known = Known((), shapes)  # replaced as a whole: two threads may make rows at the same time

    def read(self, raw: Raw) -> tuple[Struct, Shape | None]:
        """A context, and the shape of its values that have no column. Raises what decoders raise."""
        known = self._known
        try:
            context = known.decode(raw)
        except ValidationError:
            found = _decode_dict(raw)
            if len(known.learned) < MAX_LEARNED:
                self._known = known = known.with_keys_of(found)
            return known.of(found)
        return context, known.further(context) if known.learned else None

    def of(self, value: dict[str, Any]) -> tuple[Struct, Shape | None]:
        """The same of a decoded context, whatever the types of its values."""
        return self._known.of(value)


class Known:
    """Structs with fields for the typed columns and for some keys that have none, which were `learned`."""

    def __init__(self, learned: tuple[Path, ...], shapes: Shapes) -> None:
        self.learned, self._shapes = learned, shapes
        self._shape_of: dict[tuple[type, ...], Shape | None] = {}
        self._objects = {key: self._struct(key, inner) for key, inner in _OBJECTS.items()}
        # an absent object is an empty one, so that fields below it can be read without a look
        nested = [(key, struct, struct()) for key, struct in self._objects.items()]
        self._context = self._struct("", _PLAIN, nested)
        self.decode = msgspec.json.Decoder(self._context).decode
        names = [".".join((*path[:-1], _field(number))) for number, path in enumerate(learned)]
        if names:
            self._values = attrgetter(*names, names[0])  # with a single name it would give no tuple

    def _struct(
        self, above: str, known: dict[str, Column], nested: Sequence[tuple[str, Any, Any]] = ()
    ) -> type[Struct]:
        typed: list[tuple[str, Any, Any]] = [
            (one.name, str | None if _is_text(one) else Any, None) for one in known.values()
        ]
        learned = {
            _field(number): path[-1]
            for number, path in enumerate(self.learned)
            if "".join(path[:-1]) == above
        }
        extra: list[tuple[str, Any, Any]] = [(field, Any, UNSET) for field in learned]
        rename = {one.name: key for key, one in known.items()} | learned
        return msgspec.defstruct(above or "Context", [*typed, *nested, *extra], rename=rename, **_STRUCT)

    def with_keys_of(self, value: dict[str, Any]) -> Known:
        """The same with fields for the keys of a context that have none yet."""
        paths: list[Path] = [(key,) for key in value if key not in _PLAIN and key not in _OBJECTS]
        for key, inner in _OBJECTS.items():
            if type(value.get(key)) is dict:
                paths += [(key, name) for name in value[key] if name not in inner]
        fresh = [path for path in paths if path not in self.learned and _is_name(path[-1])]
        learned = (*self.learned, *fresh)[:MAX_LEARNED]
        return Known(learned, self._shapes) if len(learned) > len(self.learned) else self

    def of(self, value: dict[str, Any]) -> tuple[Struct, Shape | None]:
        """A context of values of any type, and the shape of those that have no column."""
        fields: dict[str, Any] = {}
        further: dict[str, Any] = {}
        for key, item in value.items():
            if (inner := _OBJECTS.get(key)) is not None and type(item) is dict:
                fields[key] = self._objects[key](**_fields(inner, item))
                if rest := {name: one for name, one in item.items() if name not in inner}:
                    further[key] = rest
            elif (column := _PLAIN.get(key)) is not None:
                fields[column.name] = values.as_text(item) if _is_text(column) else item
            else:
                further[key] = item
        return self._context(**fields), self._shapes.flatten(further).shape if further else None

    def further(self, context: Struct) -> Shape | None:
        """The shape of a decoded context's values that have no column."""
        found = self._values(context)
        types = tuple(map(type, found))
        if types in self._shape_of:
            return self._shape_of[types]
        further: dict[str, Any] = {}
        for path, value in zip(self.learned, found, strict=False):
            if value is not UNSET:
                above = further.setdefault(path[0], {}) if len(path) == 2 else further
                above[path[-1]] = value
        shape = self._shapes.flatten(further).shape if further else None
        if not {dict, list}.intersection(types) and len(self._shape_of) < _REMEMBERED:
            self._shape_of[types] = shape  # of scalars the types say it all
        return shape


def columns_of(contexts: Sequence[Struct]) -> dict[str, Sequence[Any]]:
    """The cells of the typed columns by column; columns that are null everywhere are left out."""
    # not strict: what a wider struct has learned stands at its end
    fields = list(zip(*map(astuple, contexts), strict=False))
    found = _cells(_PLAIN, fields)
    for inner, objects in zip(_OBJECTS.values(), fields[len(_PLAIN) :], strict=False):
        first = objects[0]
        if all(one is first for one in objects):  # mostly because all of them are absent
            alike = _cells(inner, [(value,) for value in astuple(first)])
            found |= {name: (cells[0],) * len(objects) for name, cells in alike.items()}
        else:
            found |= _cells(inner, list(zip(*map(astuple, objects), strict=False)))
    return found


def _cells(known: dict[str, Column], fields: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    found: dict[str, Sequence[Any]] = {}
    for column, given in zip(known.values(), fields, strict=False):
        if given[0] is not None or given.count(None) < len(given):
            found[column.name] = given if _is_text(column) else values.cells(column.kind, given)
    return found


def _fields(known: dict[str, Column], value: dict[str, Any]) -> dict[str, Any]:
    """The fields of what has a column; text is text by then."""
    return {
        column.name: values.as_text(value[key]) if _is_text(column) else value[key]
        for key, column in known.items()
        if key in value
    }


def _field(number: int) -> str:
    return f"learned_{number}"


def _is_name(key: str) -> bool:
    """Whether a struct can have a field for this key."""
    return key != "" and key.isprintable() and '"' not in key and "\\" not in key


_decode_dict = msgspec.json.Decoder(dict[str, Any]).decode
