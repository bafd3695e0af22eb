"""Questions to the brokers: offsets, positions, records. One client, connected when first needed and kept.

Every call ends: after `PATIENCE_S` of moving leaders and lost connections (a dead broker's partitions have a new leader
after some eleven seconds) it raises LogUnavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition as KafkaPartition

from headwater.errors import LogUnavailable, OffsetOutOfRange
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.failures import TROUBLE, reaching, unavailable
from headwater.log.kafka.wire import Fetched, StableOffsetsRequest
from headwater.log.protocol import Bounds, Position, TopicPartition

T = TypeVar("T")

PATIENCE_S = 20.0
CONNECT_S = 10.0
CLOSE_S = 5.0
PAUSE_S = 0.1
UNCOMMITTED, COMMITTED = 0, 1  # isolation levels
EARLIEST, LATEST = -2, -1
UNSTABLE = 88  # UNSTABLE_OFFSET_COMMIT: a transaction that moves the position is being finished


class Cluster:
    """A client of the brokers for questions; topics and groups carry the prefix here."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self.prefix = connection.settings.topic_prefix
        self._client: AIOKafkaClient | None = None
        self._turn = asyncio.Lock()
        self._coordinators: dict[str, int] = {}
        self._closed = False

    async def client(self) -> AIOKafkaClient:
        """The connected client. Raises LogUnavailable."""
        async with self._turn:
            if self._closed:
                raise LogUnavailable("this log is closed")
            if self._client is None:
                client = await connected(self._connection.client(self._name))
                if self._closed:  # meanwhile: nobody would close this one
                    await release(client)
                    raise LogUnavailable("this log is closed")
                self._client = client
            return self._client

    async def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        if self._client is not None:
            client, self._client = self._client, None
            await release(client)

    async def persist(self, what: str, ask: Callable[[], Awaitable[T]], patience: float = PATIENCE_S) -> T:
        """Ask again after everything that may pass. Raises LogUnavailable when it has not."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + patience
        while True:
            try:
                async with asyncio.timeout_at(give_up):
                    return await ask()
            except TROUBLE as error:
                if loop.time() + PAUSE_S >= give_up or not _may_pass(error):
                    raise unavailable(what, error) from error
                self._coordinators.clear()
                if self._client is not None and getattr(error, "invalid_metadata", True):
                    self._client.force_metadata_update()
            await asyncio.sleep(PAUSE_S)

    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """First offset and the end of what is committed, of each partition."""
        tps = list(partitions)
        begins, ends = await together(self.offsets(tps, EARLIEST), self.offsets(tps, LATEST))
        return {tp: Bounds(begins[tp], max(begins[tp], ends[tp])) for tp in tps}

    async def offsets(
        self, tps: Sequence[TopicPartition], which: int, isolation: int = COMMITTED
    ) -> dict[TopicPartition, int]:
        """`EARLIEST` or `LATEST` offsets; `UNCOMMITTED` counts what transactions under way have written too."""
        return await self.persist("cannot ask for offsets", lambda: self._offsets(tps, which, isolation))

    async def _offsets(
        self, tps: Sequence[TopicPartition], which: int, isolation: int
    ) -> dict[TopicPartition, int]:
        client = await self.client()
        by_node = await self.by_leader(client, tps)
        found: dict[TopicPartition, int] = {}

        async def ask(node: int, some: list[TopicPartition]) -> None:
            topics = [(t, [(n, which) for n in numbers]) for t, numbers in self._by_topic(some)]
            answer = await client.send(node, OffsetRequest(-1, isolation, topics))
            for topic, parts in answer.topics:
                for number, code, *_, offset in parts:
                    _check(code)
                    found[self.ours(topic, number)] = offset

        await together(*(ask(node, some) for node, some in by_node.items()))
        return found

    async def read(self, tp: TopicPartition, offset: int, max_bytes: int) -> Fetched:
        """Committed records from an offset on, not waiting for any. Raises OffsetOutOfRange."""

        async def ask() -> Fetched | None:
            client = await self.client()
            node = next(iter(await self.by_leader(client, [tp])))
            return (await self.fetch(client, node, {tp: offset}, max_bytes, 0))[tp]

        found = await self.persist(f"cannot read {tp.topic}[{tp.partition}]", ask)
        if found is not None:
            return found
        held = (await self.bounds([tp]))[tp]
        if held.begin <= offset <= held.end:
            raise LogUnavailable(f"Kafka: {tp.topic}[{tp.partition}] is between two leaders; try again")
        raise OffsetOutOfRange(*tp, offset, *held)

    async def fetch(
        self,
        client: AIOKafkaClient,
        node: int,
        wanted: Mapping[TopicPartition, int],
        max_bytes: int,
        wait_ms: int,
    ) -> dict[TopicPartition, Fetched | None]:
        """One answer of one broker; None for an offset that is out of range. Raises KafkaError."""
        topics = [
            (topic, [(n, wanted[self.ours(topic, n)], max_bytes) for n in numbers])
            for topic, numbers in self._by_topic(wanted)
        ]
        answer = await client.send(node, FetchRequest(wait_ms, 1, max_bytes, COMMITTED, topics))
        found: dict[TopicPartition, Fetched | None] = {}
        for topic, parts in answer.topics:
            for number, code, _high, stable, *rest in parts:
                tp = self.ours(topic, number)
                if code == errors.OffsetOutOfRangeError.errno:
                    found[tp] = None
                    continue
                _check(code)
                aborted = rest[1] if answer.API_VERSION >= 5 else rest[0]
                found[tp] = Fetched.of(tp, wanted[tp], stable, aborted, rest[-1] or b"")
        return found

    async def positions(
        self, group: str, partitions: Sequence[TopicPartition] | None
    ) -> dict[TopicPartition, Position]:
        """Committed positions of a group (None: all it has), once no transaction is about to move them."""
        return await self.persist(
            f"cannot read the positions of {group!r}", lambda: self._positions(group, partitions, stable=True)
        )

    async def glimpse(
        self, group: str, partitions: Sequence[TopicPartition], seconds: float
    ) -> dict[TopicPartition, Position]:
        """The same for who only looks on: after so many seconds a transaction under way is not waited for any more."""
        if seconds:
            with contextlib.suppress(LogUnavailable):
                return await self.persist(
                    "", lambda: self._positions(group, partitions, stable=True), patience=seconds
                )
        return await self.persist(
            f"cannot read the positions of {group!r}",
            lambda: self._positions(group, partitions, stable=False),
        )

    async def _positions(
        self, group: str, partitions: Sequence[TopicPartition] | None, *, stable: bool
    ) -> dict[TopicPartition, Position]:
        client = await self.client()
        node = await self._coordinator(client, group)
        asked = None if partitions is None else self._by_topic(partitions)
        answer = await client.send(
            node,
            StableOffsetsRequest(self.prefix + group, asked, stable=stable),
            group=ConnectionGroup.COORDINATION,
        )
        _check(answer.error_code)
        found: dict[TopicPartition, Position] = {}
        for topic, parts, _ in answer.topics:
            for number, offset, _epoch, note, code, _tags in parts:
                _check(code)
                if offset >= 0 and topic.startswith(self.prefix):
                    found[self.ours(topic, number)] = Position(offset, note or "")
        return found

    async def delete_group(self, group: str) -> None:
        """Remove a group's positions; fine where there is no such group. Raises LogUnavailable while it has members."""

        async def ask() -> None:
            client = await self.client()
            node = await self._coordinator(client, group)
            answer = await client.send(
                node, DeleteGroupsRequest([self.prefix + group]), group=ConnectionGroup.COORDINATION
            )
            for _, code in answer.results:
                if code != errors.GroupIdNotFound.errno:
                    _check(code)

        await self.persist(f"cannot delete the group {group!r}", ask)

    async def _coordinator(self, client: AIOKafkaClient, group: str) -> int:
        if group not in self._coordinators:
            self._coordinators[group] = await client.coordinator_lookup(
                CoordinationType.GROUP, self.prefix + group
            )
        return self._coordinators[group]

    async def by_leader(
        self, client: AIOKafkaClient, tps: Iterable[TopicPartition]
    ) -> dict[int, list[TopicPartition]]:
        """Partitions by the broker that leads them. Raises KafkaError for one without a leader."""
        by_node: dict[int, list[TopicPartition]] = defaultdict(list)
        for tp in tps:
            name = self.prefix + tp.topic
            await client._wait_on_metadata(name)  # noqa: SLF001 - the producers' own way to learn of a topic
            leader = client.cluster.leader_for_partition(KafkaPartition(name, tp.partition))
            if leader is None or leader == -1:
                raise errors.LeaderNotAvailableError(f"{name}[{tp.partition}]")
            by_node[leader].append(tp)
        return by_node

    def ours(self, topic: str, partition: int) -> TopicPartition:
        """A partition as the rest of Headwater names it."""
        return TopicPartition(topic[len(self.prefix) :], partition)

    def _by_topic(self, tps: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
        by_topic: dict[str, list[int]] = defaultdict(list)
        for tp in tps:
            by_topic[self.prefix + tp.topic].append(tp.partition)
        return list(by_topic.items())


async def together(*questions: Coroutine[Any, Any, Any]) -> list[Any]:
    """The answers. Where one fails, none of the others goes on: the client may be closed by then, and would connect anew."""
    tasks = [asyncio.create_task(question) for question in questions]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def connected(client: AIOKafkaClient) -> AIOKafkaClient:
    """The client, connected. Raises LogUnavailable, and leaves nothing open then."""
    try:
        with reaching("no broker can be reached"):
            async with asyncio.timeout(CONNECT_S):
                await client.bootstrap()
    except BaseException:
        await release(client)
        raise
    return client


class Closing(Protocol):
    """A client of any kind."""

    async def close(self) -> None:
        """Close its connections."""
        ...


async def release(client: Closing) -> None:
    """Close a client's connections, whatever state they are in."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await client.close()
    except TROUBLE:
        return  # nothing is owed to a broker that does not answer


class Unstable(errors.KafkaError):  # type: ignore[misc]
    """A transaction that moves the position is being finished; it passes."""

    retriable = True


def _check(code: int) -> None:
    """Raises the error of a code, if it is one."""
    if code == UNSTABLE:
        raise Unstable("a transaction is being finished")
    if code:
        error: type[errors.KafkaError] = errors.for_code(code)
        raise error


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, (OSError, TimeoutError)) or bool(
        getattr(error, "retriable", False) or isinstance(error, errors.NodeNotReadyError)
    )
