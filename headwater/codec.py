"""JSON as bytes: splicing into objects that are never decoded, and repairing what clients break."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson

Json = Any  # the JSON border: what a decoder returned

EMPTY_OBJECT: Final = b"{}"
# What msgspec raises where bytes do not hold what is wanted; for a text that is no UTF-8 it has no error of its own.
REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DIGITS: Final = (
    300  # an integer with more is beyond any double; with some thousands, beyond Python's own parser
)
_LEVELS: Final = (
    400  # of nesting that are repaired: fewer than the interpreter's stack holds, so that none ever counts
)
BOM: Final = b"\xef\xbb\xbf"
# As numbers: `10 in raw` takes a tenth of `b"\n" in raw`, which tries its left side as an index first.
_LF: Final = ord("\n")
_CR: Final = ord("\r")
BACKSLASH: Final = ord("\\")

joined: Final[Callable[[tuple[bytes | msgspec.Raw, ...]], bytes]] = b"".join
"""`joined((raw,))` is `bytes(raw)` at half the cost."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def dumps(value: object) -> bytes:
    """Compact JSON; integers beyond 64 bits are written digit by digit rather than refused."""
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, TypeError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def loads(data: bytes | str) -> Json:
    """Decode JSON. Raises ValueError."""
    return orjson.loads(data)


def read(data: bytes | msgspec.Raw) -> Json:
    """Decode what clients sent: as `loads`, or as `salvage` where that refuses. Raises ValueError."""
    try:
        return orjson.loads(bytes(data))
    except orjson.JSONDecodeError:
        return salvage(data)


def is_object(raw: bytes | msgspec.Raw) -> bool:
    """Whether raw JSON is an object, judged by its first byte."""
    return bytes(raw).lstrip()[:1] == b"{"


def splice(raw: bytes | msgspec.Raw, key: str, value: bytes) -> bytes:
    """The object `raw` with `key` set to the JSON `value`; bytes are copied, nothing is decoded.

    Where `raw` may already have that key (its name occurs in the bytes, or an escape that could spell it) the object
    is decoded, so that no key stands twice. `raw` must be a JSON object.
    """
    text = joined((raw,)).strip()
    name = orjson.dumps(key)
    if text.find(name) >= 0 or (BACKSLASH in text and b"\\u" in text):
        fields = _members(text)
        fields[key] = msgspec.Raw(value)
        return msgspec.json.encode(fields)
    head = text[:-1].rstrip()
    comma = b"" if head == b"{" else b","
    return joined((head, comma, name, b":", value, b"}"))


def one_line(raw: bytes) -> bytes:
    """Raw JSON without line breaks: outside strings they are white space, inside strings JSON forbids them."""
    if _LF in raw or _CR in raw:
        return raw.replace(b"\n", b" ").replace(b"\r", b" ")
    return raw


def repair(data: bytes) -> bytes:
    """JSON as stock clients break it, made valid: a byte-order mark, `NaN`, `Infinity`, lone surrogates.

    Python's own encoder writes bare `NaN`; refusing the batch would cost its neighbours. Non-finite numbers become null
    and undecodable bytes the replacement character. Raises ValueError where even that is not JSON.
    """
    text = data.removeprefix(BOM).decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    clean = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return clean.encode("utf-8", "replace")


def salvage(data: bytes | msgspec.Raw) -> Json:
    """Decode JSON that `loads` refuses and we let in all the same. Raises ValueError where it is none.

    The customer's JSON is kept as it came, so it may hold numbers beyond any double (`1e999`), which become their own text,
    and lone surrogates, which no UTF-8 can hold and become the replacement character. For the rare line on which a fast
    decoder fails: it costs ten times as much.
    """
    text = bytes(data).decode("utf-8", "replace")
    try:
        return _scrubbed(
            json.loads(
                text, parse_constant=lambda _: None, parse_float=_finite_or_text, parse_int=_integer_or_text
            ),
            _LEVELS,
        )
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def _integer_or_text(text: str) -> int | str:
    return int(text) if len(text) <= _DIGITS else text


def _finite_or_text(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _scrubbed(value: Json, levels: int) -> Json:
    if levels == 0:
        raise ValueError("JSON is nested too deeply")
    if type(value) is str:
        return _clean(value)
    if type(value) is list:
        return [_scrubbed(item, levels - 1) for item in value]
    if type(value) is dict:
        return {_clean(key): _scrubbed(item, levels - 1) for key, item in value.items()}
    return value


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def merge(outer: Json, inner: Json) -> Json:
    """Deep merge of two decoded objects; `inner` wins wherever both say something."""
    if not isinstance(outer, dict) or not isinstance(inner, dict):
        return inner
    merged = dict(outer)
    for key, value in inner.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return merged
