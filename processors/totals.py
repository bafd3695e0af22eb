"""Exact running counts of one partition since the beginning, written in the transaction that they count.

The record (topic `totals`, key: the partition) is the whole state, so that the newest one is all there is to read:

    {"partition":0, "log":"<id>", "accepted":5,
     "processed":{"web":{"track":3}}, "dropped":{"web":{"duplicate":2}}, "bots":{"web":{"crawler":{"flag":1}}}}

`accepted` is always the sum of everything under `processed` and `dropped`. `log` is drawn once, when a partition counts
for the first time, and tells one installation's log from another's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import uuid4

import msgspec
from msgspec import Struct, field

from headwater import codec, metrics
from headwater.errors import SchemaMismatch
from headwater.log.protocol import Record

Pair = tuple[str, str]
Triple = tuple[str, str, str]


class Counts(Struct):
    """What one batch adds: by (source, type), (source, reason) and (source, class, action)."""

    accepted: int = 0
    processed: Counter[Pair] = field(default_factory=Counter)
    dropped: Counter[Pair] = field(default_factory=Counter)
    bots: Counter[Triple] = field(default_factory=Counter)


class Totals(Struct, kw_only=True, forbid_unknown_fields=True):
    """The running counts of a partition; a field we do not know means that a newer version counts here."""

    partition: int
    log: str
    accepted: int = 0
    processed: dict[str, dict[str, int]] = {}
    dropped: dict[str, dict[str, int]] = {}
    bots: dict[str, dict[str, dict[str, int]]] = {}

    def add(self, counts: Counts) -> None:
        """Add a batch."""
        self.accepted += counts.accepted
        for (source, kind), n in counts.processed.items():
            _bump(self.processed.setdefault(source, {}), kind, n)
        for (source, reason), n in counts.dropped.items():
            _bump(self.dropped.setdefault(source, {}), reason, n)
        for (source, kind, action), n in counts.bots.items():
            _bump(self.bots.setdefault(source, {}).setdefault(kind, {}), action, n)

    def record(self) -> Record:
        """The record that says all of it."""
        return Record(value=msgspec.json.encode(self), key=key_of(self.partition))


def _bump(counts: dict[str, int], name: str, n: int) -> None:
    counts[name] = counts.get(name, 0) + n


def key_of(partition: int) -> bytes:
    """The key of a partition's record."""
    return str(partition).encode()


def fresh(partition: int) -> Totals:
    """The totals of a partition that has not counted yet."""
    return Totals(partition=partition, log=uuid4().hex)


def merged(partition: int, log: str, parts: Iterable[Totals]) -> Totals:
    """The totals of a partition that goes on from several."""
    whole = Totals(partition=partition, log=log, processed={}, dropped={}, bots={})
    for part in parts:
        counts = Counts(part.accepted)
        for pairs, table in ((counts.processed, part.processed), (counts.dropped, part.dropped)):
            pairs.update({(source, name): n for source, names in table.items() for name, n in names.items()})
        for source, kinds in part.bots.items():
            counts.bots.update(
                {(source, kind, a): n for kind, actions in kinds.items() for a, n in actions.items()}
            )
        whole.add(counts)
    return whole


def decode(value: bytes) -> Totals:
    """The inverse of `Totals.record`. Raises SchemaMismatch for what another version wrote."""
    try:
        return _decoder.decode(value)
    except codec.REFUSED as error:
        raise SchemaMismatch.of("a row of the topic totals", error) from error


_decoder = msgspec.json.Decoder(Totals)


def publish(counts: Counts) -> None:
    """Add a committed batch to the process's metrics."""
    for (source, kind), n in counts.processed.items():
        metrics.PROCESSED_EVENTS.labels(source, kind).inc(n)
    for (source, reason), n in counts.dropped.items():
        metrics.DROPPED_EVENTS.labels(source, reason).inc(n)
    for (source, kind, action), n in counts.bots.items():
        metrics.BOT_EVENTS.labels(source, kind, action).inc(n)
