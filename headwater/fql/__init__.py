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
from headwater.fql.error import FqlError, nearest
from headwater.fql.nodes import Node, paths
from headwater.fql.parser import parse

__all__ = ["Filter", "FqlError", "Node", "compile", "parse"]

FIELDS = (
    "anonymousId", "category", "channel", "context", "event", "groupId", "integrations", "messageId", "name",
    "originalTimestamp", "previousId", "properties", "receivedAt", "sentAt", "sourceId", "timestamp", "traits", "type",
    "userId",
)  # fmt: skip


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
    return Filter(text, condition(tree), _hints(tree))


def _hints(tree: Node) -> tuple[str, ...]:
    """Fields that no event has: legal (they are null), but most likely a slip of the pen."""
    roots = dict.fromkeys(path.parts[0] for path in paths(tree))
    found = []
    for root in roots:
        known = nearest(str(root), FIELDS)
        if root not in FIELDS and known:
            found.append(f"no event has a field `{root}`, so it is always null; did you mean `{known}`?")
    return tuple(found)
