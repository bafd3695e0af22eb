"""The chain: processors in their order, each a small callable from event to event or drop. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

from headwater.errors import HeadwaterError
from headwater.event import Accepted, Drop, Event
from headwater.heading import Bare

Step = Callable[[Event], Event | Drop]

PROCESSOR_ERROR: Final = "processor_error"


@dataclass(frozen=True, slots=True)
class Named:
    """A step and the processor's name, which drops carry."""

    name: str
    step: Step


@dataclass(frozen=True, slots=True)
class Chain:
    """Everything an accepted event goes through: `normalize` makes it an event, the steps follow in order."""

    normalize: Callable[[Accepted | Bare], Event | Drop]
    steps: tuple[Named, ...]


@final
@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that went no further, with the processor that said so."""

    event: Event
    processor: str
    drop: Drop
    error: Exception | None = None  # what a step raised: a bug of ours, never the event's fault


def run(steps: Sequence[Named], event: Event) -> Event | Dropped:
    """Send one event through the chain. A step that raises costs this event alone (reason `processor_error`)."""
    for named in steps:
        try:
            result = named.step(event)
        except HeadwaterError:
            raise  # the state or the log failed, not the step: nothing may be decided without them
        except Exception as error:  # noqa: BLE001 - whatever a step raises, the events behind it go on
            return Dropped(event, named.name, Drop(PROCESSOR_ERROR, type(error).__name__), error)
        if type(result) is Drop:
            return Dropped(event, named.name, result)
        event = result
    return event
