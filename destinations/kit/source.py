"""From log records to steps: what a lane is to do with each line. Pure.

Two kinds of input: the processed topic (every line is selected or skipped) and the retry tiers (every record is one event
that was selected before; ripe ones are due or move on).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

import msgspec

from destinations.kit import backoff
from destinations.kit.batch import Broken, Hop, Item, Place, Skip, Step
from destinations.kit.records import decode_retrying
from destinations.kit.select import Select
from headwater import codec
from headwater.event import EventDict, lines
from headwater.log.protocol import Record

SET_BACK_MS = (
    60_000  # a record this far in the future is no jitter of clocks: its times mean nothing any more
)


class Source(Protocol):
    """Reads one kind of input partition."""

    def ready_ms(self, record: Record, now_ms: int) -> int:
        """When the record may be looked at; 0 for at once."""
        ...

    def steps(self, record: Record, begin: Place, now_ms: int) -> Iterator[tuple[Step, Place]]:
        """The steps of a record from a line on, each with the place after it."""
        ...


class ProcessedSource:
    """Records of the processed topic: NDJSON lines of events."""

    def __init__(self, select: Select) -> None:
        self._select = select

    def ready_ms(self, record: Record, now_ms: int) -> int:  # noqa: ARG002 - the protocol's shape
        """At once."""
        return 0

    def steps(self, record: Record, begin: Place, now_ms: int) -> Iterator[tuple[Step, Place]]:  # noqa: ARG002
        """One step a line."""
        raws = list(lines(record.value))
        skipped = begin.line if begin.offset == record.offset else 0
        for number in range(skipped, len(raws)):
            last = number == len(raws) - 1
            end = Place(record.offset + 1) if last else Place(record.offset, number + 1)
            yield self._step(raws[number]), end

    def _step(self, raw: bytes) -> Step:
        event = decoded(raw)
        if event is None:
            return Broken(raw)
        reason = self._select(event)
        return Item(raw, event) if reason is None else Skip(reason)


class TierSource:
    """Records of one retry tier: an event each, with its history."""

    def __init__(self, tier: int) -> None:
        self._tier = tier

    def ready_ms(self, record: Record, now_ms: int) -> int:
        """When the tier's time is over for this record; at once where it was written under a clock since set back."""
        if record.timestamp > now_ms + SET_BACK_MS:
            return 0
        try:
            due_ms = decode_retrying(record.value or b"").due_ms
        except msgspec.DecodeError:
            return 0
        return backoff.ripe_ms(self._tier, record.timestamp, due_ms)

    def steps(self, record: Record, begin: Place, now_ms: int) -> Iterator[tuple[Step, Place]]:  # noqa: ARG002
        """The event where it is due, else its move to a shorter tier."""
        value, end = record.value or b"", Place(record.offset + 1)
        try:
            waiting = decode_retrying(value)
        except msgspec.DecodeError:
            yield Broken(value), end
            return
        raw = bytes(waiting.event)
        event = decoded(raw)
        if event is None:
            yield Broken(raw), end
        elif now_ms < waiting.due_ms and record.timestamp <= now_ms + SET_BACK_MS:
            yield Hop(value, waiting.due_ms), end
        else:
            yield Item(raw, event, waiting.attempts, waiting.first_ms), end


def decoded(raw: bytes) -> EventDict | None:
    """An event as a plain dict, or None where the line is no JSON object."""
    try:
        value = codec.read(raw)
    except ValueError:
        return None
    return cast("EventDict", value) if isinstance(value, dict) else None
