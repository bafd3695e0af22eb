"""Claims and transactions, the same for the memory and the SQLite log: what is gathered before it is committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headwater.errors import Fenced, LogError
from headwater.log.protocol import Entry, Position, Record, TopicPartition


class Ledger(Protocol):
    """The log behind a claim."""

    def check_output(self, group: str, tp: TopicPartition) -> None:
        """Raises ValueError where transactions of the group cannot write to the partition."""
        ...

    async def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """The group's stored position."""
        ...

    async def commit_transaction(self, transaction: GatheredTransaction) -> dict[TopicPartition, int]:
        """Apply outputs and positions together. Raises Fenced or LogUnavailable."""
        ...


class Claim:
    """The exclusive owner of one partition for a group (see `headwater.log.protocol.Owner`)."""

    def __init__(self, ledger: Ledger, group: str, tp: TopicPartition, epoch: int) -> None:
        self.ledger, self.group, self.tp, self.epoch = ledger, group, tp, epoch
        self._closed = False

    def begin(self) -> GatheredTransaction:
        """Start a transaction. Raises LogError on a closed claim."""
        if self._closed:
            raise LogError(
                f"group {self.group!r}: the claim of {self.tp.topic}[{self.tp.partition}] was closed; claim again"
            )
        return GatheredTransaction(self)

    async def position(self) -> Position | None:
        """The committed position, read after the fence was raised."""
        return await self.ledger.committed(self.group, self.tp)

    async def close(self) -> None:
        """Give the claim up: no further transaction can begin here."""
        self._closed = True

    def check(self, newest: int) -> None:
        """Raises Fenced unless the newest epoch is this claim's."""
        if newest != self.epoch:
            raise Fenced(
                f"group {self.group!r}: {self.tp.topic}[{self.tp.partition}] was claimed again "
                f"(epoch {newest}, this owner has {self.epoch}); stop and throw its state away"
            )


class GatheredTransaction:
    """Outputs and positions, kept in memory until `commit` hands them to the log in one piece."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.entries: list[Entry] = []
        self.positions: dict[TopicPartition, Position] = {}
        self._used = False

    def append(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Add output records. Raises ValueError for a partition that the group's transactions cannot write."""
        tp = TopicPartition(topic, partition)
        self.claim.ledger.check_output(self.claim.group, tp)
        self.entries.extend(Entry(topic, partition, record) for record in records)

    def advance(self, tp: TopicPartition, position: Position) -> None:
        """Move the group's position of `tp`."""
        self.positions[tp] = position

    async def commit(self) -> dict[TopicPartition, int]:
        """Apply everything, once; the next offset of each partition written. Raises Fenced or LogUnavailable."""
        if self._used:
            raise RuntimeError("a transaction is committed once; begin another")
        self._used = True
        return await self.claim.ledger.commit_transaction(self)
