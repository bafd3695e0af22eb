"""In which order a topic is copied, so that every reader's place in the old log has one in the new. Pure.

A reader of the new log has one offset a partition: what it has read must lie before what it has not. Lines of several old
partitions meet in a new one where the number of partitions changes, so they are copied in layers: first what every reader
has read, then what the one furthest behind has not, and so on. That needs readers of whom one is behind the other in every
partition; with one partition, or as many as before, there is no other kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from destinations.kit.batch import Place
from headwater.errors import LogError

Places = tuple[Place, ...]  # one for each partition of the chain


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of one old partition; then the readers of `stand` are at the end of the new partitions `targets`."""

    partition: int
    begin: Place
    end: Place
    stand: tuple[str, ...] = ()
    targets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Extent:
    """What of a topic is to be copied, and where its readers are, for each old partition."""

    topic: str
    begin: Places
    end: Places
    readers: Mapping[str, Places] = field(default_factory=dict)


def steps(extent: Extent, partitions: int) -> list[Step]:
    """The copy of a topic to so many partitions, in order. Raises LogError where readers are neither before nor behind."""
    olds = range(len(extent.begin))
    if len(extent.begin) == partitions:
        return [step for number in olds for step in _chain(extent, [number], [number])]
    return _chain(extent, olds, range(partitions))


def _chain(extent: Extent, olds: Sequence[int], news: Sequence[int]) -> list[Step]:
    at, end = _of(extent.begin, olds), _of(extent.end, olds)
    stands: dict[Places, list[str]] = {end: []}
    for name, places in extent.readers.items():
        bounded = tuple(
            min(max(place, low), high) for place, low, high in zip(_of(places, olds), at, end, strict=True)
        )
        stands.setdefault(bounded, []).append(name)
    found: list[Step] = []
    for places in sorted(stands):
        if any(place < before for place, before in zip(places, at, strict=True)):
            raise LogError(_tangled(extent.topic, stands))
        found += [Step(old, low, high) for old, low, high in zip(olds, at, places, strict=True) if low < high]
        if stands[places]:
            found.append(Step(olds[0], places[0], places[0], tuple(sorted(stands[places])), tuple(news)))
        at = places
    return found


def _of(places: Places, olds: Sequence[int]) -> Places:
    return tuple(places[number] for number in olds)


def _tangled(topic: str, stands: Mapping[Places, Sequence[str]]) -> str:
    names = ", ".join(sorted(name for found in stands.values() for name in found))
    return (
        f"{topic}: of {names}, one is ahead in one partition and behind in another, so they cannot be carried to another "
        "number of partitions. Set log.partitions to what it was, or let destinations read what waits (`headwater status`)"
    )
