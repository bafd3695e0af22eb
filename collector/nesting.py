"""What a request may nest: a nesting bomb must cost itself, not the process and not its neighbours."""

from __future__ import annotations

import re
from itertools import pairwise

from headwater import limits
from headwater.nesting import brackets, is_deeper

__all__ = ["brackets", "prune", "some_may_be_too_deep", "too_deep"]

# Possessive, and a string may lack its end: linear on every input.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_WINDOW = 4_096
_PRUNE_BELOW = limits.JSON_DEPTH + 50


def some_may_be_too_deep(text: bytes, longest: int) -> bool:
    """Whether a part of `text` that is at most `longest` bytes long may be nested more than `limits.JSON_DEPTH` levels deep.

    Brackets are counted in windows at least that long, of which a part touches two; counting in each part costs twice that.
    """
    width = max(longest, _WINDOW)
    counts = [brackets(text[at : at + width]) for at in range(0, len(text), width)]
    return any(one + other > limits.JSON_DEPTH for one, other in pairwise((*counts, 0)))


def too_deep(text: bytes) -> bool:
    """Whether JSON is nested more than `limits.JSON_DEPTH` levels deep."""
    return is_deeper(text, limits.JSON_DEPTH)


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
