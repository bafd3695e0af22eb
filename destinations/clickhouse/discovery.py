"""Finds facts for the catalog in rows: a combination of source, event and shapes is looked into once. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from destinations.clickhouse.catalog import Fact
from destinations.clickhouse.mapping import Row
from destinations.clickhouse.shapes import Shape, Shapes

logger = logging.getLogger(__name__)

MAX_PATHS = 2_000  # different values of one event that become columns; all of them stay in `properties`
_REMEMBERED = 200_000


def pattern(row: Row) -> tuple[object, ...]:
    """What decides which facts a row can bring: two rows of one pattern bring the same."""
    event = row.event
    return (
        event.source_id, event.type, row.event_name, row.properties.shape, row.traits.shape, row.further,
    )  # fmt: skip


class Discovery:
    """Remembers what was seen, so that only what is new is reported."""

    def __init__(self, known: Iterable[Fact] = (), max_events: int = 20_000) -> None:
        self.facts: set[Fact] = set()
        self._max_events = max_events
        self._events: set[tuple[str, str]] = set()
        self._paths: dict[tuple[str, str, str], int] = {}
        self._seen: set[tuple[object, ...]] = set()
        self._shapes = Shapes()
        for fact in known:
            self._note(fact)

    def events(self, rows: Iterable[Row]) -> list[Fact]:
        """New facts in rows of `events`."""
        found: list[Fact] = []
        for row in rows:
            key = pattern(row)
            if key not in self._seen:
                self._remember(key)
                found += filter(self._note, self._of(row))
        return found

    def profile(self, kind: str, traits: Mapping[str, Any]) -> list[Fact]:
        """New facts in the traits of a user or account."""
        shape = self._shapes.flatten(dict(traits)).shape
        key = (kind, shape)
        if key in self._seen:
            return []
        self._remember(key)
        return [fact for fact in _facts("", kind, "", "traits", shape) if self._note(fact)]

    def _of(self, row: Row) -> Iterator[Fact]:
        kind, event, source = row.event.type, row.event_name, row.event.source_id
        if kind == "track":
            yield Fact(source, kind, event, "event", (), "event")
        yield from _facts(source, kind, event, "properties", row.properties.shape)
        yield from _facts(source, kind, event, "traits", row.traits.shape)
        if row.further is not None:
            yield from _facts(source, kind, event, "context", row.further)

    def _remember(self, key: tuple[object, ...]) -> None:
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        self._seen.add(key)

    def _note(self, fact: Fact) -> bool:
        """Whether the fact is new and within bounds; what is beyond them is reported once and stays in the JSON columns."""
        if fact in self.facts:
            return False
        event = (fact.source_id, fact.event)
        if event not in self._events:
            if len(self._events) >= self._max_events:
                self._bounded("max_views", fact)
                return False
            self._events.add(event)
        relation = fact[:3]
        count = self._paths.get(relation, 0)
        if count >= MAX_PATHS:
            self._bounded("columns", fact)
            return False
        self._paths[relation] = count + 1
        self.facts.add(fact)
        return True

    def _bounded(self, what: str, fact: Fact) -> None:
        key = ("bounded", what, fact.source_id, "" if what == "max_views" else fact.event)
        if key not in self._seen:
            self._remember(key)
            logger.warning(
                "no more %s for views: source %r has too many kinds of events or values; they are in headwater.events",
                what,
                fact.source_id,
            )


def _facts(source: str, kind: str, event: str, origin: str, shape: Shape) -> Iterator[Fact]:
    for path, value_kind in shape.kinds():
        yield Fact(source, kind, event, origin, path, value_kind)
