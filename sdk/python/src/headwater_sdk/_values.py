"""What becomes of a value that JSON does not know: one step from a Python object towards JSON.

| Value | In the event |
|---|---|
| `datetime`, `pandas.Timestamp`, `numpy.datetime64` | `"2026-01-02T03:04:05.678Z"`: UTC, also assumed without a zone |
| `date`, `time` | `"2026-01-02"`, `"03:04:05.000006"` |
| `timedelta`, `numpy.timedelta64` | seconds, a number |
| `Decimal`, `Fraction` | a number (the nearest double, as JSON's readers have it) |
| `UUID`, `pathlib` and other paths, lazy texts of Django | text |
| `Enum` | its value |
| dataclass, attrs, pydantic 1 and 2, msgspec | an object of its fields |
| mapping | an object |
| `tuple` and `namedtuple`, `range`, `deque`, views of a dict | a list |
| `set`, `frozenset` | a list, sorted by text so that equal sets give equal events |
| `bytes`, `bytearray`, `memoryview` | text where it is UTF-8, else base64 |
| numpy scalar or array, pandas `Series` and `Index` | a number, a text, a list (nested as the dimensions) |
| `NaT`, `pandas.NA` | null |

No library is imported for this: types are known by name, along the order in which they inherit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_MOST_TYPES = 1_000  # an app that makes classes at run time must not fill memory with them
_known: dict[type, Callable[[Any], Any] | None] = {}


class UnknownValueError(TypeError):
    """A value that has no place in the table."""


def plain(value: Any) -> Any:
    """Turn `value` into something nearer to JSON (its parts may need the same); UnknownValueError where nothing is known.

    Code of the app may run here (a property of a dataclass, pydantic's serializers), with whatever it raises.
    """
    kind = type(value)
    try:
        convert = _known[kind]
    except KeyError:
        if len(_known) >= _MOST_TYPES:
            _known.clear()
        convert = _known[kind] = _converter(kind)
    if convert is None:
        raise UnknownValueError(f"{kind.__module__}.{kind.__qualname__} has no form in JSON")
    return convert(value)


def instant(value: Any) -> str | None:
    """Write a datetime as ISO-8601 in UTC with milliseconds; one without a zone is taken as UTC; NaT is null."""
    if value != value:  # noqa: PLR0124 - NaT alone differs from itself
        return None
    utc = sys.modules["datetime"].timezone.utc
    try:
        moved = value.replace(tzinfo=utc) if value.tzinfo is None else value.astimezone(utc)
    except OverflowError:  # within a day of year 1 or 9999
        return str(value.isoformat())
    return str(moved.replace(tzinfo=None).isoformat(timespec="milliseconds")) + "Z"


def _text_of_bytes(value: Any) -> str:
    raw = bytes(value)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return b64encode(raw).decode()


def _model(value: Any) -> Any:
    return value.model_dump() if hasattr(value, "model_dump") else value.dict()  # pydantic 2, pydantic 1


def _dataclass(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in sys.modules["dataclasses"].fields(value)}


def _attrs(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in type(value).__attrs_attrs__}


def _struct(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _array(value: Any) -> Any:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind in (
        "M",
        "m",
    ):  # nanoseconds would come out as a bare integer; microseconds come out as datetime, timedelta
        value = value.astype(f"{'datetime' if kind == 'M' else 'timedelta'}64[us]")
    return value.tolist()


# By package and class: the modules in between change from release to release.
_BY_NAME: dict[str, Callable[[Any], Any]] = {
    "datetime.datetime": instant,
    "datetime.date": lambda value: value.isoformat(),
    "datetime.time": lambda value: value.isoformat(),
    "datetime.timedelta": lambda value: value.total_seconds(),
    "decimal.Decimal": float,
    "fractions.Fraction": float,
    "uuid.UUID": str,
    "enum.Enum": lambda value: value.value,
    "pydantic.BaseModel": _model,
    "msgspec.Struct": _struct,
    "numpy.generic": _array,
    "numpy.ndarray": _array,
    "pandas.Series": lambda value: value.tolist(),
    "pandas.Index": lambda value: value.tolist(),
    "pandas.NAType": lambda _: None,
    "django.lazy.<locals>.__proxy__": str,
    "builtins.bytes": _text_of_bytes,
    "builtins.bytearray": _text_of_bytes,
    "builtins.memoryview": _text_of_bytes,
}


def _converter(kind: type) -> Callable[[Any], Any] | None:
    for ancestor in kind.__mro__:
        found = _BY_NAME.get(f"{ancestor.__module__.partition('.')[0]}.{ancestor.__qualname__}")
        if found is not None:
            return found
    for mark, convert in _BY_MARK:
        if hasattr(kind, mark):
            return convert
    for shape, convert in _BY_SHAPE:
        if issubclass(kind, shape):
            return convert
    return None


_BY_MARK: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("__dataclass_fields__", _dataclass),
    ("__attrs_attrs__", _attrs),
    ("__fspath__", str),
)

_BY_SHAPE: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Mapping, dict),
    (AbstractSet, lambda value: sorted(value, key=str)),
    ((Sequence, ValuesView), list),
)
