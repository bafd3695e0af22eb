"""Rows that are made again from the log's lines when somebody asks: only a failed insert needs them a second time.

Rows of a flush take a hundred times the memory of a processor's cache, and keeping them until the insert is done costs more
than making them. So they live only until they are encoded, a small chunk at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from destinations.clickhouse.lots import MAX_MONTHS, Sent
from destinations.clickhouse.mapping import Mapper, Place, Row
from headwater.event import lines
from headwater.log.protocol import Record

_JOIN = {"Native": b"", "JSONEachRow": b"\n"}  # a Native stream is any number of blocks


@dataclass(frozen=True, slots=True)
class Source:
    """Records, and the places of the chosen lines in them."""

    records: Sequence[Record]
    places: Sequence[Place]
    loaded_ms: int

    def rows(self) -> Iterator[Row]:
        """The rows, as they were made the first time."""
        mapper = Mapper()
        offsets = {place.offset for place in self.places}
        held = {one.offset: list(lines(one.value)) for one in self.records if one.offset in offsets}
        return (mapper.row(held[place.offset][place.line], place, self.loaded_ms) for place in self.places)


class Rows(Sequence[Row]):
    """A sequence of rows that is worked out when it is looked at."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self._made: list[Row] | None = None

    def __len__(self) -> int:
        return sum(len(source.places) for source in self.sources)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if self._made is None:
            self._made = [row for source in self.sources for row in source.rows()]
        return self._made[index]


def sealed(sent: Sent, records: Sequence[Record], loaded_ms: int) -> Sent:
    """The same insert without its rows in memory."""
    source = Source(records, [row.place for row in sent.rows], loaded_ms)
    return Sent(sent.format, sent.data, Rows([source]), sent.months)


def joined(parts: Iterable[Sent]) -> list[Sent]:
    """Sealed inserts of one format made into few, none of which touches too many months."""
    open_: dict[str, list[Sent]] = {}
    found: list[list[Sent]] = []
    for part in parts:
        group = open_.get(part.format)
        if group is None or len(part.months.union(*(one.months for one in group))) > MAX_MONTHS // 2:
            group = open_[part.format] = []
            found.append(group)
        group.append(part)
    return [_one(group) for group in found]


def _one(group: Sequence[Sent]) -> Sent:
    first = group[0]
    data = _JOIN[first.format].join([part.data for part in group])
    sources = [source for part in group for source in part.rows.sources]  # type: ignore[attr-defined]
    return Sent(first.format, data, Rows(sources), first.months.union(*(part.months for part in group)))
