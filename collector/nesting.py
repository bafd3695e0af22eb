"""Depth of JSON without recursion: a nesting bomb must cost itself, not the process and not its neighbours."""

from __future__ import annotations

import re
from itertools import pairwise

from headwater import limits

# Possessive, and a string may lack its end: linear on every input.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_WINDOW = 4_096
_PRUNE_BELOW = limits.JSON_DEPTH + 50


def brackets(text: bytes) -> int:
    """How many objects and arrays are opened at most: an upper bound of the depth.

    `replace` finds them with memchr; `count` goes byte by byte and takes three times as long.
    """
    return 2 * len(text) - len(text.replace(b"{", b"")) - len(text.replace(b"[", b""))


def some_may_be_too_deep(text: bytes, longest: int) -> bool:
    """Whether a part of `text` that is at most `longest` bytes long may be nested more than `limits.JSON_DEPTH` levels deep.

    Brackets are counted in windows at least that long, of which a part touches two; counting in each part costs twice that.
    """
    width = max(longest, _WINDOW)
    counts = [brackets(text[at : at + width]) for at in range(0, len(text), width)]
    return any(one + other > limits.JSON_DEPTH for one, other in pairwise((*counts, 0)))


def too_deep(text: bytes) -> bool:
    """Whether JSON is nested more than `limits.JSON_DEPTH` levels deep."""
    if brackets(text) <= limits.JSON_DEPTH:
        return False
    depth = 0
    for token in _TOKENS.finditer(text):
        byte = text[token.start()]
        if byte in b"{[":
            depth += 1
            if depth > limits.JSON_DEPTH:
                return True
        elif byte in b"}]":
            depth -= 1
    return False


def prune(text: bytes) -> bytes:
    """The same JSON with everything far below the depth limit replaced by null.

    What remains is still deeper than an event may be, so the event is rejected by the ordinary rule, and a decoder that
    recurses can read its neighbours.
    """
    depth, kept, parts = 0, 0, []
    for token in _TOKENS.finditer(text):
        byte = text[token.start()]
        if byte in b"{[":
            depth += 1
            if depth == _PRUNE_BELOW:
                parts.append(text[kept : token.start()])
        elif byte in b"}]":
            if depth == _PRUNE_BELOW:
                parts.append(b"null")
                kept = token.end()
            depth -= 1
    if depth >= _PRUNE_BELOW:
        return text  # not closed: not JSON
    return b"".join((*parts, text[kept:]))
