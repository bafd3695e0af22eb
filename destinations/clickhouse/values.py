"""JSON values as cells of a kind: kept where the type is the column's, read leniently where it is another. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from destinations.clickhouse.columns import Kind
from headwater import codec


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


_CONVERT: dict[Kind, tuple[type, Callable[[Any], Any]]] = {
    "text": (str, as_text),
    "nlabel": (str, as_text),
    "json": (str, as_text),
    "number": (float, as_number),
    "bool": (bool, as_bool),
}


def cells(kind: Kind, values: Sequence[Any]) -> Sequence[Any]:
    """Values of any type as cells of one nullable kind."""
    usual, convert = _CONVERT[kind]
    if {usual, type(None)}.issuperset(map(type, values)):
        return values
    return [value if type(value) is usual else convert(value) for value in values]
