"""A member of a consumer group: aiokafka's coordinator decides who reads what, the fetching is our own.

aiokafka's own fetcher knows no epochs, so that what was fetched under an earlier assignment could be processed after it.
Here every batch carries the epoch of its assignment, a seek begins a new one, and only so much is held in memory as one
answer of each broker. The next answer is fetched while the last one is processed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition

from headwater.errors import Fenced, LogError, LogUnavailable, OffsetOutOfRange
from headwater.log.kafka.cluster import Cluster, connected, release
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.failures import TROUBLE, described, reaching
from headwater.log.kafka.group import Coordinator, Siblings
from headwater.log.kafka.place import Place, is_full, make_room
from headwater.log.protocol import Batch, Listener, Position, TopicPartition
from headwater.metrics import KAFKA_REBALANCES

FETCH_BYTES = 4 << 20  # of one answer, compressed
WAIT_MS = 500
# A transaction costs about the same for one event as for a thousand: what comes within this time of the last batches
# waits for company. Under load working through them takes longer than this, and nothing waits.
GATHER_S = 0.1
JOIN_S = 60.0
CLOSE_S = 10.0
COMMIT_S = 20.0
RETRY_S = 0.2

_log = logging.getLogger(__name__)


class KafkaMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """A consumer (see `headwater.log.protocol.Consumer`)."""

    def __init__(
        self,
        connection: Connection,
        cluster: Cluster,
        group: str,
        topics: Sequence[str],
        listener: Listener | None,
        siblings: Siblings,
    ) -> None:
        self.group, self.topics = group, tuple(dict.fromkeys(topics))
        self._connection, self._cluster = connection, cluster
        self._listener, self._siblings = listener, siblings
        self._places: dict[TopicPartition, Place] = {}
        self._paused: set[TopicPartition] = set()
        self._epochs = count(1)
        self._first = 0
        self._gather_until = 0.0  # of the loop's clock
        self._failure: Exception | None = None
        self._closed = False
        self._leaving = asyncio.Lock()
        self._settled = asyncio.Event()
        self._arrived = asyncio.Event()
        self._fetches: dict[int, asyncio.Task[None]] = {}  # by broker; -1 looks up where to begin
        self._client: AIOKafkaClient | None = None
        self._coordinator: Coordinator | None = None

    async def join(self) -> None:
        """Join the group; returns once there is a share. Raises LogUnavailable."""
        client = await connected(self._connection.client(f"consumer-{self.group}"))
        self._client = client
        try:
            with reaching(f"cannot join the group {self.group!r}"):
                async with asyncio.timeout(JOIN_S):
                    await client.set_topics({self._cluster.prefix + topic for topic in self.topics})
                    self._must_be_open()
                    self._coordinate()
                    await self._settled.wait()
            self._must_be_open()
            await self._siblings.settle(self.group)
        except BaseException:
            async with self._leaving:
                await self._give_back()
            raise

    def _must_be_open(self) -> None:
        """The log may be closed while a member of it joins; nobody would close what comes after that."""
        if self._closed:
            raise LogUnavailable(f"group {self.group!r}: this log was closed while a consumer joined")

    def _coordinate(self) -> None:
        """Begin to join, with a coordinator of our own."""
        prefix = self._cluster.prefix
        names = {prefix + topic for topic in self.topics}
        self._coordinator = Coordinator(self._client, prefix + self.group, names, self)

    @property
    def settled(self) -> asyncio.Event:
        """Set while no rebalance is under way here."""
        return self._settled

    def rejoin(self) -> None:
        """Have the partitions dealt out anew: somebody holds one that is not ours any more, or the other way round."""
        if self._coordinator is not None:
            self._settled.clear()
            self._coordinator.request_rejoin()

    async def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:  # noqa: ARG002 - eager: all of them
        """Give every partition back, after the listener has finished with them."""
        self._settled.clear()
        await self._revoke()

    async def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        """Take a new share; where to read is looked up when it is read."""
        KAFKA_REBALANCES.labels(self.group).inc()
        share = sorted(self._cluster.ours(tp.topic, tp.partition) for tp in assigned)
        self._places = {tp: Place(next(self._epochs)) for tp in share}
        try:
            if share and self._listener is not None:
                await self._listener.assigned(share)
        except Exception as error:  # noqa: BLE001 - a member's mistake must not stop the others; its poll raises it
            self._failure = error
        self._settled.set()
        self._arrived.set()

    async def _revoke(self) -> None:
        held = sorted(self._places)
        try:
            if held and self._listener is not None:
                await self._listener.revoked(held)
        except Exception as error:  # noqa: BLE001 - as above
            self._failure = error
        finally:
            await self._siblings.revoked(self.group)
            self._places = {}
            self._paused.clear()
            self._arrived.set()

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions this member holds now."""
        return frozenset(self._places)

    def is_current(self, batch: Batch) -> bool:
        """Whether the batch was fetched under the assignment still in force."""
        place = self._places.get(batch.tp)
        return place is not None and place.epoch == batch.epoch

    async def poll(self, *, max_bytes: int = 4 << 20, timeout: float = 1.0) -> list[Batch]:
        """Next committed records of the assigned partitions; [] after `timeout` seconds without any."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + timeout
        while True:
            self._arrived.clear()
            self._check()
            if (pause := min(self._gather_until, give_up) - loop.time()) > 0:
                await asyncio.sleep(pause)
                if loop.time() < self._gather_until:
                    return []
            if batches := self._drain(max_bytes):
                self._pump()
                self._gather_until = loop.time() + GATHER_S
                return batches
            self._pump()
            try:
                async with asyncio.timeout_at(give_up):
                    await self._arrived.wait()
            except TimeoutError:
                return []

    def _check(self) -> None:
        if self._closed:
            raise LogError(f"group {self.group!r}: this consumer is closed; join again with Log.consumer")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        assert self._coordinator is not None, "joined before"
        try:
            with reaching(f"the group {self.group!r} does not work"):
                self._coordinator.check_errors()
        except LogUnavailable:
            self._join_again()
            raise

    def _join_again(self) -> None:
        """What the coordinator did not foresee has ended its heartbeats, or all of it; it begins neither by itself."""
        if self._coordinator is not None and self._coordinator.over:
            self._coordinator.abandon()
            self._settled.clear()
            self._coordinate()
        else:
            self.rejoin()

    def _drain(self, max_bytes: int) -> list[Batch]:
        order = sorted(tp for tp in self._places if tp not in self._paused)
        self._first = (self._first + 1) % max(1, len(order))
        batches: list[Batch] = []
        for tp in order[self._first :] + order[: self._first]:
            place = self._places[tp]
            if place.failure is not None and not batches:
                failure, place.failure = place.failure, None
                raise failure
            if place.fetched is None:
                continue
            try:
                with reaching(f"cannot unpack {tp.topic}[{tp.partition}]"):
                    records = place.fetched.take(max_bytes)
            except LogUnavailable as error:
                place.fetched = (
                    None  # asked for again from `offset` on: what was taken with it is not skipped
                )
                if not batches:
                    raise
                _log.warning("%s", error)  # what others have is not thrown away for it
                break
            place.offset = place.fetched.offset
            if place.fetched.done:
                place.fetched = None
            if records:
                batches.append(Batch(*tp, records, place.offset, place.epoch))
                max_bytes -= sum(len(record.value or b"") for record in records)
            if max_bytes <= 0:
                break
        return batches

    def _pump(self) -> None:
        """See to it that something is under way for every partition of which nothing is here."""
        idle = {tp: place for tp, place in self._places.items() if place.idle and tp not in self._paused}
        make_room(self._places, self._paused)
        if not idle or is_full(self._places):
            return
        if -1 not in self._fetches and any(place.offset is None for place in idle.values()):
            self._begin(-1, self._look_up({tp: p.epoch for tp, p in idle.items() if p.offset is None}))
        cluster = self._client.cluster  # type: ignore[union-attr]
        by_node: dict[int, dict[TopicPartition, int]] = {}
        for tp, place in idle.items():
            leader = cluster.leader_for_partition(
                KafkaPartition(self._cluster.prefix + tp.topic, tp.partition)
            )
            if place.offset is not None:
                by_node.setdefault(-2 if leader in (None, -1) else leader, {})[tp] = place.offset
        for node, wanted in by_node.items():
            if node not in self._fetches:
                epochs = {tp: idle[tp].epoch for tp in wanted}  # now: a seek may come before the task begins
                self._begin(node, self._refresh() if node == -2 else self._fetch(node, wanted, epochs))

    def _begin(self, node: int, work: Any) -> None:
        task = asyncio.create_task(self._guard(work), name=f"kafka-fetch-{self.group}-{node}")
        self._fetches[node] = task
        task.add_done_callback(lambda _: self._ended(node))

    def _ended(self, node: int) -> None:
        self._fetches.pop(node, None)
        self._arrived.set()

    async def _guard(self, work: Any) -> None:
        try:
            await work
        except (LogUnavailable, *TROUBLE) as error:
            _log.debug("group %s: fetching again: %s", self.group, described(error))
            self._client.force_metadata_update()  # type: ignore[union-attr]
            await asyncio.sleep(RETRY_S)

    async def _refresh(self) -> None:
        """A partition has no leader, and that may last: brokers are not asked in a circle."""
        await self._client.force_metadata_update()  # type: ignore[union-attr]
        await asyncio.sleep(RETRY_S)

    async def _look_up(self, epochs: dict[TopicPartition, int]) -> None:
        tps = list(epochs)
        stored = await self._cluster.positions(self.group, tps)
        begins = await self._cluster.bounds([tp for tp in tps if tp not in stored])
        for tp in tps:
            place = self._places.get(tp)
            if place is not None and place.epoch == epochs[tp] and place.offset is None:
                place.offset = stored[tp].offset if tp in stored else begins[tp].begin

    async def _fetch(
        self, node: int, wanted: dict[TopicPartition, int], epochs: dict[TopicPartition, int]
    ) -> None:
        answer = await self._cluster.fetch(self._client, node, wanted, FETCH_BYTES, WAIT_MS)
        for tp, found in answer.items():
            failure = await self._out_of_range(tp, wanted[tp]) if found is None else None
            place = self._places.get(tp)
            if place is None or place.epoch != epochs[tp]:
                continue
            place.failure = failure
            if found is not None and (not found.done or found.offset > wanted[tp]):
                place.fetched = found

    async def _out_of_range(self, tp: TopicPartition, offset: int) -> OffsetOutOfRange | None:
        begin, end = (await self._cluster.bounds([tp]))[tp]
        return None if begin <= offset <= end else OffsetOutOfRange(*tp, offset, begin, end)

    async def committed(self, tp: TopicPartition) -> Position | None:
        """The group's stored position, or None where it never committed."""
        return (await self._cluster.positions(self.group, [tp])).get(tp)

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Store positions durably. Raises Fenced where a partition is not ours, LogUnavailable."""
        for tp in positions:
            if tp not in self._places:
                raise self._not_ours(tp)
        offsets = {
            KafkaPartition(self._cluster.prefix + tp.topic, tp.partition): OffsetAndMetadata(*position)
            for tp, position in positions.items()
        }
        try:
            with reaching(f"cannot commit positions of {self.group!r}"):
                assert self._coordinator is not None, "let go of"
                async with asyncio.timeout(COMMIT_S):
                    await self._coordinator.commit_offsets(None, offsets)
        except LogUnavailable as error:
            if isinstance(error.__cause__, CommitFailedError):
                raise self._not_ours(next(iter(positions))) from error
            raise

    def _not_ours(self, tp: TopicPartition) -> Fenced:
        return Fenced(
            f"group {self.group!r}: {tp.topic}[{tp.partition}] is not assigned to this consumer any more; "
            "throw its batches away and poll again"
        )

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read `tp` from `offset` next. Raises Fenced where the partition is not ours."""
        if tp not in self._places:
            raise self._not_ours(tp)
        self._places[tp] = Place(next(self._epochs), offset)
        self._arrived.set()

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch nothing of these until resumed."""
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch these again."""
        self._paused.difference_update(partitions)
        self._arrived.set()

    async def close(self) -> None:
        """Leave the group; closing twice is harmless."""
        async with self._leaving:  # who closes it a second time waits for the first, and ends it no sooner
            if self._closed:
                return
            await self._give_back()
        await self._siblings.left(self)

    async def _give_back(self) -> None:
        """The partitions, then the membership, then the connections: these also where somebody cancels the rest."""
        try:
            if self._places:
                await self._revoke()
            self._closed = True
            await self._leave()
        finally:
            await self.abandon()

    async def _leave(self) -> None:
        if self._coordinator is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._coordinator.close()
            except TROUBLE as error:
                _log.debug("leaving the group %s: %s", self.group, described(error))

    async def abandon(self) -> None:
        """Let go of everything without a word to the brokers."""
        self._closed = True
        tasks = [*self._fetches.values()]
        for task in tasks:
            task.cancel()
        if self._coordinator is not None:
            coordinator, self._coordinator = self._coordinator, None
            tasks += coordinator.abandon()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._settled.set()
            self._arrived.set()
            if self._client is not None:
                client, self._client = self._client, None
                await release(client)
