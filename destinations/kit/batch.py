"""Gathering lines into batches by count, bytes and time. Pure: time is an argument (monotonic seconds)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from headwater.event import EventDict
from headwater.log.protocol import Position
from headwater.plugin import Batching

SCAN_LINES = (
    10_000  # a batch ends after this many lines even if all were filtered, so that the position moves
)


class Place(NamedTuple):
    """Where a line stands: the record's offset and how many lines of it come before."""

    offset: int
    line: int = 0

    def position(self) -> Position:
        """The place as a group's position: a batch may end inside a record."""
        return Position(self.offset, f"line={self.line}" if self.line else "")

    @classmethod
    def of(cls, position: Position | None) -> Place:
        """The inverse of `position`; the beginning where nothing was ever committed."""
        if position is None:
            return cls(0)
        line = position.metadata.removeprefix("line=")
        return cls(position.offset, int(line) if line.isdigit() else 0)


@dataclass(frozen=True, slots=True)
class Item:
    """One event to be sent: its line byte for byte, decoded, and what earlier attempts left behind."""

    raw: bytes
    event: EventDict
    attempts: int = 0
    first_ms: int = 0  # when the first attempt was made; 0 before it


@dataclass(frozen=True, slots=True)
class Skip:
    """One event that is not for this destination."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that is no event; it goes to the dead letters, never away."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Hop:
    """A retry that is ripe but not yet due: it moves to the tier of the time that is left."""

    value: bytes
    due_ms: int


Step = Item | Skip | Broken | Hop


@dataclass(slots=True)
class Unit:
    """Neighbouring lines of one partition that are sent, settled and committed together."""

    begin: Place
    end: Place
    steps: list[Step] = field(default_factory=list)

    @property
    def items(self) -> list[Item]:
        """The events to be sent."""
        return [step for step in self.steps if type(step) is Item]


class Gather:
    """Collects steps until a batch is full or old enough."""

    def __init__(self, batching: Batching, begin: Place) -> None:
        self._batching = batching
        self._unit = Unit(begin, begin)
        self._events = 0
        self._bytes = 0
        self._since_s = 0.0

    def __bool__(self) -> bool:
        """Whether anything was gathered."""
        return bool(self._unit.steps)

    def fits(self, step: Step) -> bool:
        """Whether the step may still join; the first one always may, however large it is."""
        if type(step) is not Item or not self._events:
            return len(self._unit.steps) < SCAN_LINES
        return (
            self._events < self._batching.max_events
            and self._bytes + len(step.raw) <= self._batching.max_bytes
        )

    def add(self, step: Step, end: Place, now_s: float) -> None:
        """Take a step that `fits`; `end` is the place after it."""
        if not self._unit.steps:
            self._since_s = now_s
        self._unit.steps.append(step)
        self._unit.end = end
        if type(step) is Item:
            self._events += 1
            self._bytes += len(step.raw)

    @property
    def full(self) -> bool:
        """Whether waiting for more is pointless."""
        return (
            self._events >= self._batching.max_events
            or self._bytes >= self._batching.max_bytes
            or len(self._unit.steps) >= SCAN_LINES
        )

    def wait_s(self, now_s: float) -> float:
        """Seconds until the batch is old enough to go as it is."""
        return max(0.0, self._since_s + self._batching.max_wait_s - now_s) if self else 0.0

    def take(self) -> Unit:
        """The batch; gathering begins anew behind it."""
        unit, self._unit = self._unit, Unit(self._unit.end, self._unit.end)
        self._events = self._bytes = 0
        return unit
