"""Depth of JSON, told from its bytes without recursion: the same answer in every process, however full its stack is."""

from __future__ import annotations

import re

# Possessive, and a string may lack its end: linear on every input.
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def brackets(text: bytes) -> int:
    """How many objects and arrays are opened at most: an upper bound of the depth.

    `replace` finds them with memchr; `count` goes byte by byte and takes three times as long.
    """
    return 2 * len(text) - len(text.replace(b"{", b"")) - len(text.replace(b"[", b""))


def is_deeper(text: bytes, levels: int) -> bool:
    """Whether JSON is nested more than `levels` levels deep."""
    if brackets(text) <= levels:
        return False
    depth = 0
    for token in TOKENS.finditer(text):
        byte = text[token.start()]
        if byte in b"{[":
            depth += 1
            if depth > levels:
                return True
        elif byte in b"}]":
            depth -= 1
    return False
