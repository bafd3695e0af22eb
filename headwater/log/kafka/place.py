"""Where each assigned partition is read, and how much of what was fetched is held in memory. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from headwater.errors import OffsetOutOfRange
from headwater.log.kafka.wire import Fetched
from headwater.log.protocol import TopicPartition

HELD_BYTES = 16 << 20  # fetched and not polled yet; beyond it nothing more is asked for


@dataclass(slots=True)
class Place:
    """Where one assigned partition is read; `offset` None: not looked up yet."""

    epoch: int
    offset: int | None = None
    fetched: Fetched | None = None
    failure: OffsetOutOfRange | None = None

    @property
    def idle(self) -> bool:
        """Whether more should be fetched."""
        return self.fetched is None and self.failure is None


Places = Mapping[TopicPartition, Place]


def is_full(places: Places) -> bool:
    """Whether so much is held that nothing more should be fetched."""
    held = sum(place.fetched.size for place in places.values() if place.fetched is not None)
    return held >= HELD_BYTES


def make_room(places: Places, paused: Iterable[TopicPartition]) -> None:
    """What is held of paused partitions must not keep the others from being read; it is fetched again."""
    for tp in paused:
        if not is_full(places):
            return
        if tp in places:
            places[tp].fetched = None
