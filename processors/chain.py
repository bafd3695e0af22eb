"""The chain: processors in their order, each a small callable from event to event or drop. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater.event import Drop, Event

Step = Callable[[Event], Event | Drop]


@dataclass(frozen=True, slots=True)
class Named:
    """A step and the processor's name, which drops carry."""

    name: str
    step: Step


@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that went no further, with the processor that said so."""

    event: Event
    processor: str
    drop: Drop


def run(steps: Sequence[Named], event: Event) -> Event | Dropped:
    """Send one event through the chain."""
    for named in steps:
        result = named.step(event)
        if type(result) is Drop:
            return Dropped(event, named.name, result)
        event = result  # type: ignore[assignment]
    return event
