"""Consumer groups inside one process: membership, eager rebalancing, epochs, polling.

Used by the memory and the SQLite log, where all members of a group live in one process (the one that stores its
positions). Kafka brings its own coordinator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Protocol

from msgspec.structs import replace

from headwater.errors import Fenced, LogError
from headwater.log.protocol import Batch, Bounds, Listener, Position, TopicPartition
from headwater.log.signals import Signals


class Source(Protocol):
    """What a group needs of the log it belongs to."""

    @property
    def signals(self) -> Signals:
        """Where writes are announced."""
        ...

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        ...

    async def bounds(self, tp: TopicPartition) -> Bounds:
        """First and next offset."""
        ...

    async def read(self, tp: TopicPartition, offset: int, *, max_bytes: int = 4 << 20) -> Batch:
        """Committed records from `offset` on."""
        ...

    async def committed(self, group: str, tp: TopicPartition) -> Position | None:
        """The group's stored position."""
        ...

    async def store(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Store positions durably."""
        ...

    async def register(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        """Remember durably that the group reads these, so that retention keeps what it has not read."""
        ...


class Group:
    """The members of one group; partitions are dealt out anew whenever one joins or leaves."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: list[Member] = []
        self._turn = asyncio.Lock()
        self._epochs = count(1)

    def next_epoch(self) -> int:
        """A number that no earlier assignment or seek of this group has had."""
        return next(self._epochs)

    async def join(self, member: Member) -> None:
        """Add a member; returns once it has its share."""
        async with self._turn:
            await self._revoke_all()
            self.members.append(member)
            await self._assign_all()

    async def leave(self, member: Member) -> None:
        """Remove a member, handing its partitions to the others."""
        async with self._turn:
            if member not in self.members:
                return
            await self._revoke_all()
            self.members.remove(member)
            await self._assign_all()

    async def drop(self, lost: Iterable[Member]) -> None:
        """Members that died without a word: nobody is asked to finish anything on their side."""
        async with self._turn:
            gone = [member for member in lost if member in self.members]
            for member in gone:
                member.forget()
                self.members.remove(member)
            if gone:
                await self._revoke_all()
                await self._assign_all()

    async def _revoke_all(self) -> None:
        for member in list(self.members):
            await member.revoke()

    async def _assign_all(self) -> None:
        shares: dict[Member, list[TopicPartition]] = {member: [] for member in self.members}
        for topic in sorted({topic for member in self.members for topic in member.topics}):
            takers = [member for member in self.members if topic in member.topics]
            for partition in range(takers[0].source.partitions(topic)):
                shares[takers[partition % len(takers)]].append(TopicPartition(topic, partition))
        for member, share in shares.items():
            await member.assign(share)


class Member:
    """A consumer: one member of a group (see `headwater.log.protocol.Consumer`)."""

    def __init__(
        self, group: Group, source: Source, topics: Sequence[str], listener: Listener | None
    ) -> None:
        self.group, self.source, self.topics = group, source, tuple(dict.fromkeys(topics))
        self._listener = listener
        self._offsets: dict[TopicPartition, int] = {}
        self._epochs: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._failure: Exception | None = None
        self._closed = False
        self._first = 0  # which partition the next fetch begins with, so that none starves
        self._wakers = (*self.topics, f"\0group {group.name}")

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions this member holds now."""
        return frozenset(self._epochs)

    def is_current(self, batch: Batch) -> bool:
        """Whether the batch was fetched under the assignment still in force."""
        return self._epochs.get(batch.tp) == batch.epoch

    async def poll(self, *, max_bytes: int = 4 << 20, timeout: float = 1.0) -> list[Batch]:
        """Next committed records of the assigned partitions; [] after `timeout` seconds without any."""
        signals = self.source.signals
        token = signals.token(self._wakers)
        if batches := await self._fetch(max_bytes):
            return batches
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await signals.changed(self._wakers, token)
                    token = signals.token(self._wakers)
                    if batches := await self._fetch(max_bytes):
                        return batches
        except TimeoutError:
            return []

    async def committed(self, tp: TopicPartition) -> Position | None:
        """The group's stored position, or None where it never committed."""
        return await self.source.committed(self.group.name, tp)

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Store positions durably. Raises Fenced where a partition is not ours."""
        for tp in positions:
            if tp not in self._epochs:
                raise Fenced(
                    f"group {self.group.name!r}: {tp.topic}[{tp.partition}] is not assigned to this consumer any more; "
                    "throw its batches away and poll again"
                )
        await self.source.store(self.group.name, positions)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read `tp` from `offset` next. Raises Fenced where the partition is not ours."""
        if tp not in self._epochs:
            raise Fenced(
                f"group {self.group.name!r}: cannot seek in {tp.topic}[{tp.partition}], which is not assigned here"
            )
        self._offsets[tp] = offset
        self._epochs[tp] = self.group.next_epoch()
        self._wake()

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch nothing of these until resumed."""
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch these again."""
        self._paused.difference_update(partitions)
        self._wake()

    async def close(self) -> None:
        """Leave the group; closing twice is harmless."""
        if not self._closed:
            self._closed = True
            await self.group.leave(self)
            self._wake()

    async def revoke(self) -> None:
        """Give every partition back, after the listener has finished with them."""
        held = sorted(self._epochs)
        try:
            if held and self._listener is not None:
                await self._listener.revoked(held)
        except Exception as error:  # noqa: BLE001 - a member's mistake must not stop the others; its poll raises it
            self._failure = error
        finally:
            self.forget()

    async def assign(self, share: Sequence[TopicPartition]) -> None:
        """Take partitions; reading begins at the stored positions, else at the beginning."""
        for tp in share:
            stored = await self.source.committed(self.group.name, tp)
            self._offsets[tp] = stored.offset if stored else (await self.source.bounds(tp)).begin
            self._epochs[tp] = self.group.next_epoch()
        try:
            if share and self._listener is not None:
                await self._listener.assigned(list(share))
        except Exception as error:  # noqa: BLE001 - as in revoke
            self._failure = error
        self._wake()

    def forget(self) -> None:
        """Hold nothing any more; batches fetched so far are no longer current."""
        self._offsets.clear()
        self._epochs.clear()
        self._paused.clear()

    def _wake(self) -> None:
        self.source.signals.bump(self._wakers[-1:])

    def _check(self) -> None:
        if self._closed:
            raise LogError(
                f"group {self.group.name!r}: this consumer is closed; join again with Log.consumer"
            )
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    async def _fetch(self, max_bytes: int) -> list[Batch]:
        """Read what is there. Nothing counts as fetched before the last await, so a cancelled fetch loses nothing."""
        self._check()
        order = sorted(set(self._epochs) - self._paused)
        self._first = (self._first + 1) % max(1, len(order))
        left, found = max_bytes, list[Batch]()
        for tp in order[self._first :] + order[: self._first]:
            if (epoch := self._epochs.get(tp)) is None:
                continue
            batch = await self.source.read(tp, self._offsets[tp], max_bytes=left)
            found.append(replace(batch, epoch=epoch))
            left -= sum(len(record.value or b"") for record in batch.records)
            if left <= 0:
                break
        return self._accept(found)

    def _accept(self, found: list[Batch]) -> list[Batch]:
        current = [batch for batch in found if self.is_current(batch) and batch.tp not in self._paused]
        for batch in current:
            self._offsets[batch.tp] = batch.next_offset
        return [batch for batch in current if batch.records]
