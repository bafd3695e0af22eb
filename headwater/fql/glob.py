"""Glob patterns as Go's path.Match reads them, except that `/` is an ordinary character.

A pattern is cut at its stars into chunks of single-character matchers. Leftmost matching of each chunk in turn decides
the whole: at most len(text) * len(pattern) steps, no backtracking, so that no pattern can be made slow on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

Matcher = Callable[[str], bool]


class BadPattern(ValueError):
    """A class that is not closed or empty, or a backslash with nothing after it."""


class _Chunk(NamedTuple):
    regex: re.Pattern[str]
    width: int  # characters; every matcher takes exactly one


@lru_cache(maxsize=1024)
def compile(pattern: str) -> Matcher:  # noqa: A001 - always called through the module
    """A function that says whether a whole string matches. Raises BadPattern."""
    chunks = [_chunk(part) for part in _split(pattern)]
    if len(chunks) == 1:
        whole = chunks[0].regex
        return lambda text: whole.fullmatch(text) is not None
    first, *middle, last = chunks
    return lambda text: _matches(text, first, middle, last)


def matches(text: str, pattern: str) -> bool:
    """Whether `text` matches; a pattern that cannot be read matches nothing."""
    try:
        return compile(pattern)(text)
    except BadPattern:
        return False


def _matches(text: str, first: _Chunk, middle: list[_Chunk], last: _Chunk) -> bool:
    if not first.regex.match(text):
        return False
    at = first.width
    end = len(text) - last.width
    for chunk in middle:
        found = chunk.regex.search(text, at)
        if not found:
            return False
        at = found.end()
    return at <= end and last.regex.match(text, end) is not None


def _split(pattern: str) -> list[list[str]]:
    """The pattern's single-character matchers (as regular expressions), cut at its stars."""
    chunks: list[list[str]] = [[]]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            chunks.append([])
            at += 1
        elif char == "?":
            chunks[-1].append(".")
            at += 1
        elif char == "[":
            group, at = _class(pattern, at + 1)
            chunks[-1].append(group)
        else:
            literal, at = _character(pattern, at)
            chunks[-1].append(re.escape(literal))
    return chunks


def _character(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] != "\\":
        return pattern[at], at + 1
    if at + 1 == len(pattern):
        raise BadPattern("nothing follows the last backslash")
    return pattern[at + 1], at + 2


def _class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while not ranges or pattern[at : at + 1] != "]":  # Go wants at least one character before the `]`
        low, at = _bound(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _bound(pattern, at + 1)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(ranges)
    if not inside:  # only inverted ranges: no character is inside, every one is outside
        return ("." if negated else r"(?!)."), at + 1
    return f"[{'^' if negated else ''}{inside}]", at + 1


def _bound(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        raise BadPattern("a `[` is never closed")
    if pattern[at] in "-]":
        raise BadPattern(f"`{pattern[at]}` inside `[...]` needs a backslash")
    return _character(pattern, at)


def _chunk(matchers: list[str]) -> _Chunk:
    return _Chunk(re.compile("".join(matchers), re.DOTALL), len(matchers))
