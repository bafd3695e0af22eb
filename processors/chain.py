"""The chain: processors in their order, each a small callable from event to event or drop. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    """Everything an accepted event goes through: `normalize` makes it an event, the stages follow in order.

    Steps that share what they remember are one stage, so that an event finds there what the event before it has taught.
    """

    normalize: Callable[[Accepted | Bare], Event | Drop]
    stages: tuple[tuple[Named, ...], ...]


@final
@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that went no further, with the processor that said so."""

    event: Event
    processor: str
    drop: Drop
    error: Exception | None = None  # what a step raised: a bug of ours, never the event's fault


def run(stages: Sequence[Sequence[Named]], events: Iterable[Event]) -> list[Event | Dropped]:
    """Send events through the chain, all of them through a stage before any goes through the next.

    So a stage's code stays in the core's cache; event by event, fetching code anew took more time than running it. A step
    that raises costs its event alone (reason `processor_error`).
    """
    results: list[Event | Dropped] = list(events)
    for stage in stages:
        for at, event in enumerate(results):
            if type(event) is not Dropped:
                results[at] = _through(stage, event)
    return results


def _through(stage: Sequence[Named], event: Event) -> Event | Dropped:
    for named in stage:
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
