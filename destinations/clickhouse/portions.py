"""A stretch of one log partition and what becomes of it: rows, filtered events, dead letters. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct

from destinations.clickhouse import side
from destinations.clickhouse.inserter import Poison
from destinations.clickhouse.lots import Lot, Table
from destinations.clickhouse.mapping import Mapper, Place, Row
from destinations.kit.records import Dead, Delivery, ItemState, Span, Totals, encode
from headwater.event import lines
from headwater.log import topics
from headwater.log.protocol import Entry, Record, TopicPartition

Select = Callable[[Any], str | None]
DELIVERED = "delivered"


class _Head(Struct, rename="camel"):
    source_id: Any = None
    type: Any = None
    integrations: Any = None


_head = msgspec.json.Decoder(_Head)


@dataclass(slots=True)
class Portion:
    """Records of one partition from `begin` up to `end`, which no one else loads meanwhile."""

    tp: TopicPartition
    begin: int
    end: int
    records: list[Record] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events they hold."""
        return sum(record.events for record in self.records)


@dataclass(slots=True)
class Prepared:
    """A portion worked out: rows per table, and for events a state for every line, in order."""

    portion: Portion
    rows: dict[Table, list[Any]] = field(default_factory=dict)
    states: list[tuple[Place, str]] = field(default_factory=list)
    dead: dict[Place, Dead] = field(default_factory=dict)
    ids: dict[Place, str] = field(default_factory=dict)

    def add(self, table: Table, row: Any) -> None:
        """Add a row of a table."""
        self.rows.setdefault(table, []).append(row)


def verdict(select: Select, line: bytes, *, filtered: bool) -> str | None:
    """Why a line is not for us, or None; only a filter needs the whole event decoded."""
    try:
        if filtered:
            event = orjson.loads(line)
        else:
            head = _head.decode(line)
            event = {"sourceId": head.source_id, "type": head.type, "integrations": head.integrations}
    except (ValueError, RecursionError):
        return None  # the mapping decides what can be saved of it
    return select(event) if isinstance(event, dict) else None


class Preparer:
    """Turns portions into rows. `select` and `filtered` may be replaced when the workspace changes."""

    def __init__(self, events: Table, select: Select, *, filtered: bool) -> None:
        self.events, self.select, self.filtered = events, select, filtered
        self._mapper = Mapper()

    def prepare(self, portion: Portion, now_ms: int) -> Prepared:
        """Rows of one portion; total: what cannot be mapped is dead, and says why."""
        prepared = Prepared(portion)
        for record in portion.records:
            match portion.tp.topic:
                case topics.PROCESSED:
                    self._events(prepared, record, now_ms)
                case topics.PROFILES:
                    _profile(prepared, record, now_ms)
                case topics.DROPPED:
                    _side(prepared, record, now_ms, side.dropped)
                case topics.DELIVERIES:
                    _side(prepared, record, now_ms, side.delivery)
        return prepared

    def _events(self, prepared: Prepared, record: Record, now_ms: int) -> None:
        partition = prepared.portion.tp.partition
        for number, line in enumerate(lines(record.value)):
            if not line:
                continue
            place = Place(partition, record.offset, number)
            reason = verdict(self.select, line, filtered=self.filtered)
            if reason is not None:
                prepared.states.append((place, reason))
                continue
            try:
                row = self._mapper.row(line, place, now_ms)
            except ValueError as error:
                prepared.states.append((place, "dead"))
                prepared.dead[place] = dead_letter("UNREADABLE", str(error), line, now_ms)
                continue
            prepared.states.append((place, DELIVERED))
            prepared.add(self.events, row)


def _profile(prepared: Prepared, record: Record, now_ms: int) -> None:
    place = Place(prepared.portion.tp.partition, record.offset, 0)
    try:
        found = side.profile(record.key or b"", record.value, place, now_ms)
    except ValueError as error:
        _lost(prepared, place, record.value or b"", str(error), now_ms)
        return
    if found is not None:
        prepared.add(*found)


def _side(
    prepared: Prepared, record: Record, now_ms: int, to_row: Callable[[bytes, Place, int], tuple[Table, Any]]
) -> None:
    for number, line in enumerate(lines(record.value)):
        place = Place(prepared.portion.tp.partition, record.offset, number)
        try:
            if line:
                prepared.add(*to_row(line, place, now_ms))
        except ValueError as error:
            _lost(prepared, place, line, str(error), now_ms)


def _lost(prepared: Prepared, place: Place, line: bytes, detail: str, now_ms: int) -> None:
    """A record of a side topic that is none: kept in the dead letters, though no event is lost by it."""
    prepared.dead[place] = dead_letter(
        f"UNREADABLE_{prepared.portion.tp.topic.upper()}", detail, line, now_ms
    )


def dead_letter(code: str, detail: str, line: bytes, now_ms: int) -> Dead:
    """The dead letter of a line; one that is no JSON is kept as a JSON string."""
    try:
        msgspec.json.decode(line)
        event = Raw(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event = Raw(orjson.dumps(line.decode("utf-8", "replace")))
    return Dead(at_ms=now_ms, code=code, detail=detail[:2_000], attempts=1, first_ms=now_ms, event=event)


def lots(prepared: Sequence[Prepared]) -> list[Lot]:
    """The rows of several portions, table by table."""
    tables: dict[Table, list[Any]] = {}
    for one in prepared:
        for table, rows in one.rows.items():
            tables.setdefault(table, []).extend(rows)
    return [Lot(table, rows) for table, rows in tables.items()]


def bury(prepared: Sequence[Prepared], poison: Sequence[Poison], now_ms: int) -> None:
    """Mark the rows that the engine refuses as dead."""
    by_place = {
        (one.portion.tp, record.offset): (one, record) for one in prepared for record in one.portion.records
    }
    for refused in poison:
        place: Place = refused.row.place
        for (tp, offset), (one, record) in by_place.items():
            if offset != place.offset or tp.partition != place.partition:
                continue
            if not any(refused.row is row for rows in one.rows.values() for row in rows):
                continue
            line = (record.value or b"").split(b"\n")[place.line] if record.value else b"null"
            one.dead[place] = dead_letter(f"CLICKHOUSE_{refused.code}", refused.reason, line, now_ms)
            one.states = [(at, "dead" if at == place else state) for at, state in one.states]
            if isinstance(refused.row, Row):
                one.ids[place] = refused.row.message_id


def change(prepared: Prepared, name: str) -> Totals:
    """What the portion adds to the destination's counts."""
    totals = Totals(destination=name, read=len(prepared.states))
    for _, state in prepared.states:
        if state == DELIVERED:
            totals.delivered += 1
        elif state == "dead":
            totals.dead += 1
        else:
            totals.filtered[state] = totals.filtered.get(state, 0) + 1
    return totals


def outputs(prepared: Prepared, name: str, now_ms: int) -> Iterator[Entry]:
    """Dead letters and, for events, the record of what became of each line."""
    for letter in prepared.dead.values():
        yield Entry(topics.DEAD_PREFIX + name, 0, Record(encode(letter)))
    if prepared.states:
        yield Entry(topics.DELIVERIES, 0, Record(encode(_delivery(prepared, name, now_ms))))


def _delivery(prepared: Prepared, name: str, now_ms: int) -> Delivery:
    first = prepared.states[0][0]
    sent = sum(1 for _, state in prepared.states if state in (DELIVERED, "dead"))
    runs = [(len(list(group)), state) for state, group in groupby(state for _, state in prepared.states)]
    states = {state for _, state in prepared.states}
    state = DELIVERED if states == {DELIVERED} else "dead" if states == {"dead"} else "partial"
    items = [
        ItemState(message_id=prepared.ids.get(place, ""), state="dead", attempt=1, reason=letter.code)
        for place, letter in prepared.dead.items()
    ]
    portion = prepared.portion
    span = Span(*portion.tp, first.offset, first.line, portion.end, 0)
    return Delivery(
        destination=name,
        at_ms=now_ms,
        state="filtered" if not sent else state,
        events=sent,
        span=span,
        outcomes=runs,
        items=items,
        requests=1 if sent else 0,
    )
