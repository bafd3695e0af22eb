"""The log's contract: partitioned, durable, replayable topics with consumer groups, transactions and fencing.

Stages see only this. Implementations: `memory` (tests), `sqlite` (one machine), `kafka` (cluster). The words are Kafka's
and mean what they mean there. Offsets grow by at least one a record within a partition and may have gaps (compaction,
transaction markers), so "next" is always `record.offset + 1`, never counted.

Who may do what:

* a **producer** (`Log.append`) returns once the records survive a power cut;
* a **consumer** reads for a group; partitions are assigned to it and may be taken away (`Listener`);
* an **owner** (`Log.claim`) holds one input partition of a group exclusively; claiming fences every earlier owner, and
  its transactions move outputs and the input position together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from msgspec import Struct


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Record(Struct, frozen=True):
    """One record: NDJSON lines of events, or a keyed value (None deletes the key of a compacted topic)."""

    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0  # milliseconds since 1970; 0 lets the log fill in its clock
    events: int = 1  # how many events the value holds, so that counting never means decoding
    offset: int = -1  # set by the log


class Entry(NamedTuple):
    """A record on its way to a partition."""

    topic: str
    partition: int
    record: Record


class Batch(Struct, frozen=True):
    """Records of one partition in offset order, tied to the assignment they were fetched under."""

    topic: str
    partition: int
    records: list[Record]
    next_offset: int  # where the next fetch begins, past any gap
    epoch: int = 0  # the assignment's epoch; see Consumer.is_current

    @property
    def tp(self) -> TopicPartition:
        """The partition these records came from."""
        return TopicPartition(self.topic, self.partition)


class Position(NamedTuple):
    """A group's place in a partition: the next offset to read, and a note stored with it (an intent, for loaders)."""

    offset: int
    metadata: str = ""


class Bounds(NamedTuple):
    """The offsets a partition holds: `begin` is the first one still there, `end` the next one to be written."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind in one partition."""

    tp: TopicPartition
    position: int
    end: int
    events: int  # events (not records) still to be read
    oldest_ms: int  # timestamp of the oldest unread record; 0 when there is none


class Listener(Protocol):
    """Told when partitions come and go; `revoked` is awaited before another consumer may get them."""

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """These partitions are ours from now on."""
        ...

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These partitions are no longer ours; finish or throw away what is in flight."""
        ...


class Consumer(Protocol):
    """A member of a consumer group."""

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions this member holds now."""
        ...

    def is_current(self, batch: Batch) -> bool:
        """Whether the batch was fetched under the assignment still in force; process no other."""
        ...

    async def poll(self, *, max_bytes: int = 4 << 20, timeout: float = 1.0) -> list[Batch]:
        """Next committed records of the assigned partitions, in order; [] after `timeout` seconds without any.

        Returns as soon as there is something. At least one record is returned however large it is.
        Raises OffsetOutOfRange where retention has removed unread records.
        """
        ...

    async def committed(self, tp: TopicPartition) -> Position | None:
        """The group's stored position, or None where it never committed."""
        ...

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Store positions durably (at-least-once consumers). Raises Fenced where the partition is not ours."""
        ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read `tp` from `offset` next; batches fetched before this are no longer current."""
        ...

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch nothing of these until resumed."""
        ...

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch these again."""
        ...

    async def close(self) -> None:
        """Leave the group."""
        ...


class Transaction(Protocol):
    """Outputs and positions that become visible together. Used once; nothing is visible before `commit` returns."""

    def append(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Add output records."""
        ...

    def advance(self, tp: TopicPartition, position: Position) -> None:
        """Move the group's position of `tp`."""
        ...

    async def commit(self) -> dict[TopicPartition, int]:
        """Make it all durable; the next offset of each partition written. Raises Fenced or LogUnavailable."""
        ...


class Owner(Protocol):
    """The exclusive owner of one input partition for a group."""

    def begin(self) -> Transaction:
        """Start a transaction; one at a time, in order."""
        ...

    async def position(self) -> Position | None:
        """The committed position, read after the fence was raised."""
        ...

    async def close(self) -> None:
        """Give the claim up."""
        ...


class Log(Protocol):
    """Durable, partitioned topics. Open with `async with`."""

    async def __aenter__(self) -> Self:
        """Open; topics declared in `headwater.log.topics` exist afterwards."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Flush and close."""
        ...

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Write records; returns once all of them are durable. Order is kept per partition.

        Concurrent calls share one sync (group commit). Raises LogUnavailable; then none of them was acknowledged
        (some may be there all the same: at-least-once, dedupe removes them).
        """
        ...

    async def consumer(self, group: str, topics: Sequence[str], listener: Listener | None = None) -> Consumer:
        """Join a group; a partition without a committed position is read from its beginning."""
        ...

    async def claim(self, group: str, tp: TopicPartition) -> Owner:
        """Own `tp` for `group`; every earlier owner's commits raise Fenced from now on."""
        ...

    async def bounds(self, tp: TopicPartition) -> Bounds:
        """First and next offset of the partition."""
        ...

    async def read(self, tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        """Committed records from `offset` on, outside any group; empty at the end. Raises OffsetOutOfRange."""
        ...

    async def wait(self, topics: Sequence[str], seconds: float) -> bool:
        """Sleep until something may have been written to one of the topics (True) or the time is over (False)."""
        ...

    async def lag(self, group: str, topics: Sequence[str]) -> list[Lag]:
        """How far a group is behind, per partition."""
        ...

    async def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """A group's stored position, seen from outside the group (operators, replay)."""
        ...

    async def forget_group(self, group: str) -> None:
        """Remove a group's positions and fence its owners: retention keeps nothing for it any longer."""
        ...
