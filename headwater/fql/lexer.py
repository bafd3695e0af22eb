"""Text into tokens. A path is one token: its parts are unescaped here, so that the parser sees names, not spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from headwater.fql.error import FqlError, nearest

MAX_CHARS = 65_536  # Segment's own limit is 5 KB
WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
OPERATORS = ("and", "or", "in")
_STRANGE = {"==": "=", "&&": "and", "&": "and", "||": "or", "|": "or", "<>": "!=", "=>": ">=", "=<": "<="}

_SPACE = re.compile(r"[ \t\r\n]+")
_SYMBOL = re.compile(r"==|&&|\|\||<>|=>|=<|[<>!]=|[=<>!()\[\],&|]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?(?![A-Za-z0-9_.\\-])", re.ASCII)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_QUOTE = re.compile(r"""\\(["'\\])""")  # every other backslash stays: match('50*', '50\*') needs it
_PART = re.compile(r"(?:[A-Za-z0-9_-]|\\.)+", re.ASCII | re.DOTALL)
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_DOT = re.compile(r"[ \t\r\n]*\.[ \t\r\n]*")
_INDEX = re.compile(r"\[[ \t]*(\d{1,9})[ \t]*\]", re.ASCII)

Kind = Literal["symbol", "word", "value", "path", "name", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """`value` is the symbol, the operator word, the literal, the path's parts or the function's name."""

    kind: Kind
    value: Any
    offset: int
    text: str


def tokens(text: str) -> list[Token]:
    """All tokens with an `end` after them. Raises FqlError."""
    if len(text) > MAX_CHARS:
        raise FqlError(
            text[:80], 0, f"the filter has {len(text)} characters; at most {MAX_CHARS} are allowed"
        )
    found: list[Token] = []
    at = 0
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at == len(text):
            return [*found, Token("end", None, at, "")]
        token = _next(text, at)
        found.append(token)
        at += len(token.text)


def _next(text: str, at: int) -> Token:
    char = text[at]
    if char in "\"'":
        return _string(text, at)
    if char in "0123456789+-":
        return _number(text, at)
    if symbol := _SYMBOL.match(text, at):
        return _symbol(text, at, symbol[0])
    if char.isascii() and (char.isalpha() or char in "_\\"):
        return _word_or_path(text, at)
    raise FqlError(text, at, f"`{char}` means nothing in a filter", "a field, a value, `!` or `(`")


def _symbol(text: str, at: int, symbol: str) -> Token:
    if symbol in _STRANGE:
        raise FqlError(text, at, f"there is no operator `{symbol}`", suggestion=_STRANGE[symbol])
    return Token("symbol", symbol, at, symbol)


def _string(text: str, at: int) -> Token:
    found = (_DOUBLE if text[at] == '"' else _SINGLE).match(text, at)
    if not found:
        raise FqlError(text, at, "this string is never closed", f"a closing {text[at]}")
    return Token("value", _QUOTE.sub(r"\1", found[1]), at, found[0])


def _number(text: str, at: int) -> Token:
    found = _NUMBER.match(text, at)
    if not found or len(found[0]) > 300:
        raise FqlError(text, at, "this is no number", "digits such as 10, -3 or 0.25")
    value = float(found[0]) if found[1] or found[2] else int(found[0])
    return Token("value", value, at, found[0])


def _word_or_path(text: str, at: int) -> Token:
    parts, end = _path(text, at)
    spelled = text[at:end]
    if spelled in WORDS:
        return Token("value", WORDS[spelled], at, spelled)
    if spelled in OPERATORS:
        return Token("word", spelled, at, spelled)
    after = _SPACE.match(text, end)
    if text[after.end() if after else end :][:1] == "(" and _BARE.fullmatch(spelled):
        return Token("name", spelled, at, spelled)
    return Token("path", tuple(parts), at, spelled)


def _path(text: str, at: int) -> tuple[list[str | int], int]:
    first, at = _part(text, at)
    parts: list[str | int] = [first]
    if first in OPERATORS or first in WORDS:  # `x in["a"]`: a list follows, not a part
        bracket = text[at : at + 1] == "["
        if bracket and text[at - len(first) : at] == first:
            return parts, at
    while True:
        if text[at : at + 1] == "[":
            part, at = _bracket(text, at)
        elif dot := _DOT.match(text, at):
            part, at = _part(text, dot.end())
        else:
            return parts, at
        parts.append(part)


def _part(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] in ('"', "'"):
        quoted = _string(text, at)
        return str(quoted.value), at + len(quoted.text)
    found = _PART.match(text, at)
    if not found:
        raise FqlError(
            text, at, "the path breaks off", "a field name; quote it or put `\\` before odd characters"
        )
    return re.sub(r"\\(.)", r"\1", found[0], flags=re.DOTALL), found.end()


def _bracket(text: str, at: int) -> tuple[str | int, int]:
    if index := _INDEX.match(text, at):
        return int(index[1]), index.end()
    inner = at + 1
    if text[inner : inner + 1] not in ('"', "'") or not text[inner : inner + 1]:
        raise FqlError(
            text, inner, "the path breaks off", 'a quoted name or a position, as in `["a b"]` or `[0]`'
        )
    quoted = _string(text, inner)
    end = inner + len(quoted.text)
    if text[end : end + 1] != "]":
        raise FqlError(text, end, "the bracket is never closed", "`]`")
    return str(quoted.value), end + 1


def operator_hint(word: str) -> str:
    """The operator meant by a word such as `AND` or `not`."""
    return "!" if word.lower() == "not" else nearest(word, OPERATORS)
