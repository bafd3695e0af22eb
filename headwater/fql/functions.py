"""The functions of the language: each takes decoded JSON values, answers one, and never raises.

An argument of the wrong type gives null (false for the two tests), and null gives the documented default, so that
`length(userId) > 0` needs no guard.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headwater import codec, timestamps
from headwater.fql import glob

_NUMBER = re.compile(r"[+-]?\d{1,300}(\.\d{1,300})?([eE][+-]?\d{1,3})?", re.ASCII)
_WORD = re.compile(r"(?:^|(?<= ))[^ ]")
_TYPES: dict[type, str] = {
    str: "string", int: "number", float: "number", bool: "bool", list: "list", dict: "object", type(None): "null",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Function:
    """`call` takes as many values as `parameters` names; `summary` is for the docs."""

    call: Callable[..., Any]
    parameters: tuple[str, ...]
    summary: str


def contains(text: Any, part: Any) -> bool:
    """Whether a string holds another."""
    return type(text) is str and type(part) is str and part in text


def match(text: Any, pattern: Any) -> bool:
    """Whether a glob matches the whole string."""
    return type(text) is str and type(pattern) is str and glob.matches(text, pattern)


def length(value: Any) -> int | None:
    """Elements of a list, bytes (UTF-8) of a string, 0 of null."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if type(value) is list:
        return len(value)
    return 0 if value is None else None


def typeof(value: Any) -> str:
    """The name of a value's type."""
    return _TYPES.get(type(value), "object")


def to_bool(value: Any) -> bool:
    """False for null, 0, empty strings, lists and objects, and the strings "false" and "0"."""
    return value not in ("false", "0") if type(value) is str and value else bool(value)


def to_string(value: Any) -> str | None:
    """The text of a value: null is empty, 2.0 is "2", lists and objects are compact JSON."""
    if value is None:
        return ""
    if type(value) is str:
        return value
    if type(value) is float and value.is_integer() and abs(value) < 1e21:  # as JavaScript prints it
        return str(int(value))
    try:
        return codec.dumps(value).decode()
    except (ValueError, TypeError, RecursionError):  # nested deeper, or longer, than JSON can be written
        return None


def to_number(value: Any) -> float | None:
    """A number as it is, a string that spells one as that number, anything else null."""
    if type(value) is int or type(value) is float:
        return value
    if type(value) is not str or not _NUMBER.fullmatch(value):
        return None
    number = float(value) if not value.lstrip("+-").isdigit() else int(value)
    return number if isinstance(number, int) or math.isfinite(number) else None


def _on_string(change: Callable[[str], str]) -> Callable[[Any], str | None]:
    return lambda value: change(value) if type(value) is str else None


def _time(value: Any) -> int | None:
    return timestamps.parse(value)


FUNCTIONS: dict[str, Function] = {
    "contains": Function(contains, ("string", "substring"), "whether the string holds the substring"),
    "match": Function(match, ("string", "pattern"), "whether the glob pattern matches the whole string"),
    "length": Function(length, ("list or string",), "elements of a list, UTF-8 bytes of a string"),
    "lowercase": Function(_on_string(str.lower), ("string",), "the string in lower case"),
    "uppercase": Function(_on_string(str.upper), ("string",), "the string in upper case"),
    "snakecase": Function(
        _on_string(lambda text: text.replace(" ", "_")), ("string",), "spaces become underscores"
    ),
    "kebabcase": Function(
        _on_string(lambda text: text.replace(" ", "-")), ("string",), "spaces become dashes"
    ),
    "titlecase": Function(
        _on_string(lambda text: _WORD.sub(lambda word: word[0].upper(), text)),
        ("string",),
        "the first letter of each word becomes a capital",
    ),
    "typeof": Function(typeof, ("value",), "string, number, bool, list, object or null"),
    "bool": Function(to_bool, ("value",), 'false for null, 0, "", "0", "false", [] and {}, else true'),
    "string": Function(to_string, ("value",), "the value as text; null is the empty string"),
    "number": Function(to_number, ("number or string",), "the number a string spells, or null"),
    "time": Function(_time, ("ISO string or epoch",), "milliseconds since 1970 (Headwater's own), or null"),
}
