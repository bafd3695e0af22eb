"""FQL, Segment's filter language: text in, a function from an event to true or false out. Pure.

`compile(text)` parses once and answers a cached `Filter`; calling it never raises, whatever the event holds. What the
language means is written in docs/developer/filters.md. Wrong text raises `FqlError`.

    filter = fql.compile('type = "track" and properties.total > 10')
    filter({"type": "track", "properties": {"total": 12}})  # True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from headwater.fql.closures import condition
from headwater.fql.error import FqlError
from headwater.fql.hints import hints
from headwater.fql.nodes import Node
from headwater.fql.parser import parse

__all__ = ["Filter", "FqlError", "Node", "compile", "parse"]


class Filter:
    """A compiled condition; `text` is its source, `hints` what a careful reader would ask about it."""

    __slots__ = ("hints", "test", "text")

    def __init__(self, text: str, test: Callable[[Mapping[str, Any]], bool], hints: tuple[str, ...]) -> None:
        self.text, self.test, self.hints = text, test, hints

    def __call__(self, event: Mapping[str, Any]) -> bool:
        """Whether the condition is true of a decoded event; total: anything that is not `true` is false."""
        return self.test(event)

    def __repr__(self) -> str:
        """The source text."""
        return f"Filter({self.text!r})"


@lru_cache(maxsize=1024)
def compile(text: str) -> Filter:  # noqa: A001 - named as re.compile is, and always called through the package
    """The filter of `text`; the same text answers the same object. Raises FqlError."""
    tree = parse(text)
    return Filter(text, condition(tree), hints(tree))
