"""A stretch of one log partition and what becomes of it: rows, filtered events, dead letters. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from msgspec.structs import replace

from destinations.clickhouse import side
from destinations.clickhouse.discovery import pattern
from destinations.clickhouse.inserter import Poison
from destinations.clickhouse.letters import dead_letter, failed, unreadable
from destinations.clickhouse.lots import Lot, Sent, Table, encoded
from destinations.clickhouse.mapping import Line, Mapper, Place, Row
from destinations.clickhouse.rows import Rows, joined, sealed
from destinations.kit.records import Dead, Delivery, ItemState, Span, Totals, encode
from headwater import codec, limits
from headwater.event import lines
from headwater.log import topics
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.nesting import brackets, is_deeper

Select = Callable[[Any], str | None]
DELIVERED = "delivered"
_place_of = tuple.__new__  # of a Place: half of what calling the class takes
CHUNK_ROWS = 1_000  # rows in memory at a time: few enough for the processor's cache, many enough for a block


@dataclass(slots=True)
class Portion:
    """Records of one partition from `begin` up to `end`, which no one else loads meanwhile."""

    tp: TopicPartition
    begin: int
    end: int
    records: list[Record] = field(default_factory=list)
    before: int = 0  # added to the offsets of records: the tables may hold places of a log before this one

    def take(self, records: Sequence[Record]) -> None:
        """Add records of the log, at the places that their rows get."""
        before = self.before
        self.records += [replace(one, offset=one.offset + before) for one in records] if before else records

    @property
    def events(self) -> int:
        """How many events they hold."""
        return sum(record.events for record in self.records)


@dataclass(slots=True)
class Prepared:
    """A portion worked out: inserts of events, rows of other tables, and for events a state for every line, in order."""

    portion: Portion
    sent: list[Sent] = field(default_factory=list)
    samples: dict[tuple[object, ...], Row] = field(default_factory=dict)  # a row of each pattern
    rows: dict[Table, list[Any]] = field(default_factory=dict)
    first: Place | None = None  # of the first state
    states: list[str] = field(default_factory=list)
    dead: dict[Place, Dead] = field(default_factory=dict)
    ids: dict[Place, str] = field(default_factory=dict)

    def add(self, table: Table, row: Any) -> None:
        """Add a row of a table."""
        self.rows.setdefault(table, []).append(row)

    def follow(self, other: Prepared) -> None:
        """Add the portion that begins where this one ends."""
        self.portion.records += other.portion.records
        self.portion.end = other.portion.end
        self.sent += other.sent
        for pattern_, row in other.samples.items():
            self.samples.setdefault(pattern_, row)
        for table, rows in other.rows.items():
            self.rows.setdefault(table, []).extend(rows)
        self.first = self.first or other.first
        self.states += other.states
        self.dead |= other.dead
        self.ids |= other.ids


def verdict(select: Select, line: bytes) -> str | None:
    """Why a line is not for us, or None; decodes the whole event."""
    try:
        event = codec.read(line)
    except ValueError:
        return None  # the mapping says why it cannot be read
    return select(event) if isinstance(event, dict) else None


def head_of(line: Line) -> dict[str, Any]:
    """What a destination without a filter chooses by."""
    return {"sourceId": line.source_id, "type": line.type, "integrations": line.integrations}


class Preparer:
    """Turns portions into rows. `select` and `filtered` may be replaced when the workspace changes."""

    def __init__(self, events: Table, select: Select, *, filtered: bool) -> None:
        self.events, self.select, self.filtered = events, select, filtered
        self._mapper = Mapper()

    def prepare(self, portion: Portion, now_ms: int) -> Prepared:
        """Rows of one portion; total: what cannot be mapped is dead, and says why."""
        prepared = Prepared(portion)
        if portion.tp.topic == topics.PROCESSED:
            self._events(prepared, now_ms)
            return prepared
        for record in portion.records:
            match portion.tp.topic:
                case topics.PROFILES:
                    _profile(prepared, record, now_ms)
                case topics.DROPPED:
                    _side(prepared, record, now_ms, side.dropped)
                case topics.DELIVERIES:
                    _side(prepared, record, now_ms, side.delivery)
        return prepared

    def _events(self, prepared: Prepared, now_ms: int) -> None:
        partition = prepared.portion.tp.partition
        rows: list[Row] = []
        for record in prepared.portion.records:
            for number, line in enumerate(lines(record.value)):
                if not line:
                    continue
                place = _place_of(Place, (partition, record.offset, number))
                prepared.first = prepared.first or place
                try:
                    row = self._row(line, place, now_ms)
                except MemoryError:
                    raise  # says nothing about the line
                except Exception as error:  # noqa: BLE001 - whatever is wrong with a line, those behind it go on
                    prepared.states.append("dead")
                    prepared.dead[place] = unreadable(error, line, now_ms)
                    continue
                if type(row) is str:
                    prepared.states.append(row)
                    continue
                prepared.states.append(DELIVERED)
                rows.append(row)  # type: ignore[arg-type]
            if len(rows) >= CHUNK_ROWS:
                self._seal(prepared, rows, now_ms)
                rows = []
        if rows:
            self._seal(prepared, rows, now_ms)

    def _row(self, line: bytes, place: Place, now_ms: int) -> Row | str:
        """The row of a line, or why it is not for us. Raises ValueError where it cannot be read."""
        if brackets(line) > limits.ROW_DEPTH:
            _refuse_deep(line)
        decoded = None if self.filtered else self._mapper.simple(line)
        if decoded is None:
            return verdict(self.select, line) or self._mapper.row(line, place, now_ms)
        return self.select(head_of(decoded[0])) or self._mapper.row_of(*decoded, place, now_ms)

    def _seal(self, prepared: Prepared, rows: Sequence[Row], now_ms: int) -> None:
        """Encode a chunk of rows and let go of them. A row that cannot be encoded is dead, its neighbours are not."""
        lost: list[tuple[Row, Exception]] = []
        sent = encoded(self.events, rows, lost)
        for row, error in lost:
            record = next(one for one in prepared.portion.records if one.offset == row.place.offset)
            _set_aside(prepared, row, failed(error, _line_at(record, row.place), now_ms))
        gone = {row.place for row, _ in lost}
        for row in [row for row in rows if row.place not in gone] if gone else rows:
            prepared.samples.setdefault(pattern(row), row)
        prepared.sent += [sealed(one, prepared.portion.records, now_ms) for one in sent]


def _refuse_deep(line: bytes) -> None:
    """Raise ValueError where JSON is nested so deeply that something behind could fail at it.

    The bytes alone decide: what was inserted must not be refused when it is looked at again after a crash, with another
    number of frames on the stack.
    """
    if is_deeper(line, limits.ROW_DEPTH):
        raise ValueError(f"nested more than {limits.ROW_DEPTH} levels deep")


def _profile(prepared: Prepared, record: Record, now_ms: int) -> None:
    place = Place(prepared.portion.tp.partition, record.offset, 0)
    try:
        _refuse_deep(record.value or b"")
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
                _refuse_deep(line)
                prepared.add(*to_row(line, place, now_ms))
        except ValueError as error:
            _lost(prepared, place, line, str(error), now_ms)


def _lost(prepared: Prepared, place: Place, line: bytes, detail: str, now_ms: int) -> None:
    """A record of a side topic that is none: kept in the dead letters, though no event is lost by it."""
    prepared.dead[place] = dead_letter(
        f"UNREADABLE_{prepared.portion.tp.topic.upper()}", detail, line, now_ms
    )


def lots(prepared: Sequence[Prepared], events: Table) -> list[Lot]:
    """The rows of several portions, table by table."""
    sent = joined(part for one in prepared for part in one.sent)
    sources = [source for part in sent for source in part.rows.sources]  # type: ignore[attr-defined]
    tables: dict[Table, list[Any]] = {}
    for one in prepared:
        for table, rows in one.rows.items():
            tables.setdefault(table, []).extend(rows)
    side_lots = [Lot(table, rows) for table, rows in tables.items()]
    return [Lot(events, Rows(sources), sent), *side_lots] if sent else side_lots


def bury(prepared: Sequence[Prepared], poison: Sequence[Poison], now_ms: int) -> None:
    """Mark the rows that the engine refuses as dead."""
    if not poison:
        return
    by_place = {
        (one.portion.tp, record.offset): (one, record) for one in prepared for record in one.portion.records
    }
    for refused in poison:
        place: Place = refused.row.place
        for (tp, offset), (one, record) in by_place.items():
            if offset != place.offset or tp.partition != place.partition:
                continue
            is_event = isinstance(refused.row, Row)
            if is_event != (tp.topic == topics.PROCESSED) or not (is_event or _holds(one, refused.row)):
                continue
            line = _line_at(record, place)
            letter = dead_letter(f"CLICKHOUSE_{refused.code}", refused.reason, line, now_ms)
            _set_aside(one, refused.row, letter)


def _set_aside(one: Prepared, row: Any, letter: Dead) -> None:
    """Mark a row as dead."""
    place: Place = row.place
    one.dead[place] = letter
    if isinstance(row, Row):
        one.states[_index(one.portion, place)] = "dead"
        one.ids[place] = row.message_id


def _line_at(record: Record, place: Place) -> bytes:
    return record.value.split(b"\n")[place.line] if record.value else b"null"


def _holds(one: Prepared, row: object) -> bool:
    return any(row is held for rows in one.rows.values() for held in rows)


def _index(portion: Portion, place: Place) -> int:
    """The number of a line among all lines of a portion."""
    before = 0
    for record in portion.records:
        if record.offset == place.offset:
            return before + sum(1 for line in list(lines(record.value))[: place.line] if line)
        before += sum(1 for line in lines(record.value) if line)
    raise ValueError(f"{place} is not in {portion.tp} from {portion.begin} to {portion.end}")


def change(prepared: Prepared, name: str) -> Totals:
    """What the portion adds to the destination's counts."""
    # a letter of a side topic stands for no event, yet it is listed, retried and discarded like one
    apart = 0 if prepared.states else len(prepared.dead)
    totals = Totals(destination=name, read=len(prepared.states) + apart, dead=apart)
    for state, count in Counter(prepared.states).items():
        if state == DELIVERED:
            totals.delivered = count
        elif state == "dead":
            totals.dead = count
        else:
            totals.filtered[state] = count
    return totals


def outputs(prepared: Prepared, name: str, now_ms: int) -> Iterator[Entry]:
    """Dead letters and, for events, the record of what became of each line."""
    for letter in prepared.dead.values():
        yield Entry(topics.DEAD_PREFIX + name, 0, Record(encode(letter)))
    if prepared.first is not None:
        yield Entry(topics.DELIVERIES, 0, Record(encode(_delivery(prepared, prepared.first, name, now_ms))))


def _delivery(prepared: Prepared, first: Place, name: str, now_ms: int) -> Delivery:
    runs = [(len(list(group)), state) for state, group in groupby(prepared.states)]
    states = {state for _, state in runs}
    sent = sum(count for count, state in runs if state in (DELIVERED, "dead"))
    state = DELIVERED if states == {DELIVERED} else "dead" if states == {"dead"} else "partial"
    items = [
        ItemState(message_id=prepared.ids.get(place, ""), state="dead", attempt=1, reason=letter.code)
        for place, letter in prepared.dead.items()
    ]
    portion = prepared.portion
    span = Span(*portion.tp, first.offset - portion.before, first.line, portion.end, 0)
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
