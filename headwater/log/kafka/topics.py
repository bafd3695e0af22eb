"""The topics that a workspace needs on Kafka, what differs on the cluster, and making it so.

`wanted` and `plan` are pure. Missing topics are made by any stage that needs them, for destinations come and go while
Headwater runs; what exists is changed by `headwater topics apply` alone. A number of partitions is never changed: the
partition of an event is that of its key, and the state of a processor that of its partition.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.metadata import MetadataRequest

from headwater.errors import LogError, LogUnavailable
from headwater.log import topics
from headwater.log.kafka.cluster import CONNECT_S, PATIENCE_S, release
from headwater.log.kafka.connection import RECORD_BYTES, Connection
from headwater.log.kafka.failures import reaching
from headwater.log.retention import TOMBSTONE_S, Policy
from headwater.log.topics import TopicSpec, spec_of

SLACK_BYTES = 1 << 20  # a batch may be a little larger than its records
SEGMENT_BYTES = 64 << 20
LOOKS, LOOK_S = 100, 0.05
SET_ON_TOPIC = 1  # where a setting comes from, in the broker's answer
_DAY_MS = 86_400_000
_FOREVER = 2**63 - 1

DECLARED = (
    topics.ACCEPTED,
    topics.PROCESSED,
    topics.DROPPED,
    topics.PROFILES,
    topics.TOTALS,
    topics.DESTINATION_TOTALS,
    topics.DELIVERIES,
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be, or as it is (`replication` 0 where that is not known)."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]
    own: Mapping[str, str] = field(default_factory=dict)  # of `configs`, those set on the topic itself


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a plan: what is done, or why it is refused."""

    kind: Literal["create", "alter", "refuse"]
    topic: str
    what: str
    wanted: Topic
    configs: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)  # what else is set on the topic


def names(destinations: Iterable[str]) -> list[str]:
    """Every topic of a workspace with these destinations."""
    own = [prefix + name for name in destinations for prefix in (topics.RETRY_PREFIX, topics.DEAD_PREFIX)]
    return [*DECLARED, *own]


def wanted(name: str, connection: Connection, policy: Policy) -> Topic:
    """The topic as the workspace wants it, with its prefix."""
    settings = connection.settings
    spec = spec_of(name, settings.partitions)
    return Topic(
        settings.topic_prefix + name,
        spec.partitions,
        settings.replication,
        _configs(spec, settings.min_insync_replicas, policy),
    )


def _configs(spec: TopicSpec, in_sync: int, policy: Policy) -> dict[str, str]:
    configs = {
        "cleanup.policy": "compact" if spec.compacted else "delete",
        "min.insync.replicas": str(in_sync),
        "max.message.bytes": str(RECORD_BYTES + SLACK_BYTES),
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(_FOREVER),  # a host whose clock is ahead loses nothing
        "unclean.leader.election.enable": "false",
    }
    if spec.compacted:
        kept = {
            "delete.retention.ms": TOMBSTONE_S * 1000,
            "segment.bytes": SEGMENT_BYTES,
            "segment.ms": _DAY_MS,
        }
        return configs | {name: str(value) for name, value in kept.items()}
    keeps_all = spec.retention_s == 0 or spec.name.startswith(topics.DEAD_PREFIX)
    seconds = 0 if keeps_all else policy.seconds(spec)
    bounded = bool(policy.max_bytes) and not keeps_all and not policy.least(spec)
    return configs | {
        "retention.ms": str(int(seconds * 1000)) if seconds else "-1",
        "retention.bytes": str(policy.max_bytes) if bounded else "-1",
    }


def plan(needed: Sequence[Topic], found: Mapping[str, Topic]) -> list[Change]:
    """What to do so that the cluster has what is needed; nothing where it has."""
    changes: list[Change] = []
    for topic in needed:
        there = found.get(topic.name)
        if there is None:
            what = f"create with {topic.partitions} partitions, {topic.replication} replicas"
            changes.append(Change("create", topic.name, what, topic, topic.configs))
            continue
        if there.partitions != topic.partitions:
            changes.append(Change("refuse", topic.name, _resized(topic, there), topic))
        differing = {key: value for key, value in topic.configs.items() if there.configs.get(key) != value}
        if differing.pop("cleanup.policy", None) is not None:
            changes.append(Change("refuse", topic.name, _recleaned(topic, there), topic))
        if differing:
            told = ", ".join(
                f"{key} {there.configs.get(key, 'unset')} -> {value}" for key, value in differing.items()
            )
            changes.append(Change("alter", topic.name, told, topic, differing, there.own))
    return changes


def _resized(topic: Topic, there: Topic) -> str:
    return (
        f"has {there.partitions} partitions, the workspace wants {topic.partitions}: a key's events would move to another "
        f"partition, away from what is known of them. Set log.partitions back to {there.partitions}, or give the workspace "
        "a new log.topic_prefix and let the old one run empty first (docs/operator/kafka.md, Adding partitions)"
    )


def _recleaned(topic: Topic, there: Topic) -> str:
    return (
        f"has cleanup.policy {there.configs.get('cleanup.policy', 'unset')}, it must be {topic.configs['cleanup.policy']}: "
        "changing it would remove records; it is somebody else's topic, choose another log.topic_prefix"
    )


class Topics:
    """Looks at topics and changes them; `policy` tells how long records are kept."""

    def __init__(self, connection: Connection, policy: Callable[[], Policy]) -> None:
        self._connection, self._policy = connection, policy
        self._there: set[str] = set()
        self._turn = asyncio.Lock()

    def wanted(self, names_: Iterable[str]) -> list[Topic]:
        """The topics as the workspace wants them."""
        return [wanted(name, self._connection, self._policy()) for name in names_]

    async def plan(self, names_: Iterable[str]) -> list[Change]:
        """What differs on the cluster. Raises LogUnavailable."""
        needed = self.wanted(names_)
        return plan(needed, await self.found([topic.name for topic in needed]))

    def forget(self, name: str) -> None:
        """Take a topic for missing: somebody deleted it."""
        self._there.discard(name)

    async def ensure(self, names_: Iterable[str]) -> None:
        """Make what is missing. Raises LogUnavailable, or LogError for topics that do not fit the settings."""
        if not (missing := set(names_) - self._there):
            return
        async with self._turn:
            needed = self.wanted(sorted(missing - self._there))
            found = await self.found([topic.name for topic in needed], configs=False)
            for topic in needed:
                if topic.name in found and found[topic.name].partitions != topic.partitions:
                    raise LogError(f"topic {topic.name} {_resized(topic, found[topic.name])}")
            if creating := [topic for topic in needed if topic.name not in found]:
                async with connected_admin(self._connection) as admin:
                    await _create(admin, creating)
                await self._seen([topic.name for topic in creating])
            self._there |= missing

    async def _seen(self, full_names: Sequence[str]) -> None:
        """Wait until brokers know of what the controller has made. Raises LogUnavailable."""
        for _ in range(LOOKS):
            if len(await self.found(full_names, configs=False)) == len(full_names):
                return
            await asyncio.sleep(LOOK_S)
        raise LogUnavailable(
            f"Kafka: topics were created and yet are not known: {', '.join(full_names)}; try again"
        )

    async def found(self, full_names: Sequence[str], *, configs: bool = True) -> dict[str, Topic]:
        """Those of the topics that exist. Raises LogUnavailable."""
        async with connected_admin(self._connection) as admin:
            request = MetadataRequest(list(full_names), allow_auto_topic_creation=False)
            answer = await admin._send_request(request)  # noqa: SLF001 - its public way hides the errors of topics
            shapes = {}
            for code, name, _, parts in answer.topics:
                if code == errors.UnknownTopicOrPartitionError.errno:
                    continue
                if code and code != errors.LeaderNotAvailableError.errno:
                    raise errors.for_code(code)(name)
                shapes[name] = (len(parts), min((len(part[3]) for part in parts), default=0))
            values = await _configs_of(admin, list(shapes)) if configs and shapes else {}
        return {name: Topic(name, *shape, *values.get(name, ({}, {}))) for name, shape in shapes.items()}

    async def apply(self, changes: Sequence[Change]) -> None:
        """Create and alter; refused changes are left out. Raises LogUnavailable or LogError."""
        creating = [change.wanted for change in changes if change.kind == "create"]
        async with connected_admin(self._connection) as admin:
            if creating:
                await _create(admin, creating)
                await self._seen([topic.name for topic in creating])
            for change in changes:
                if change.kind == "alter":
                    await _alter(admin, change)


@contextlib.asynccontextmanager
async def connected_admin(connection: Connection) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client for the length of a block. Raises LogUnavailable for everything that goes wrong on the way."""
    admin = connection.admin()
    try:
        with reaching("cannot look at the topics"):
            async with asyncio.timeout(PATIENCE_S):
                await admin.start()
                yield admin
    finally:
        await release(admin)


async def _create(admin: AIOKafkaAdminClient, creating: Sequence[Topic]) -> None:
    asked = [
        NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=dict(topic.configs))
        for topic in creating
    ]
    answer = await admin.create_topics(asked, timeout_ms=int(CONNECT_S * 1000))
    for name, code, *message in answer.topic_errors:
        if code and code != errors.TopicAlreadyExistsError.errno:
            why = next((text for text in message if text), "") or errors.for_code(code).__name__
            raise LogError(
                f"topic {name} cannot be created: {why}; create it with `headwater topics apply` as a user who may, or "
                "set log.replication and log.min_insync_replicas to what the cluster has"
            )


async def _alter(admin: AIOKafkaAdminClient, change: Change) -> None:
    """Set what differs. The request replaces all of a topic's settings, so those of the operator's own go with it."""
    values = {**change.kept, **change.configs}
    answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, change.topic, values)])
    for answer in answers:
        for code, message, *_ in answer.resources:
            if code:
                raise LogError(
                    f"topic {change.topic}: the broker refuses its settings: {message or errors.for_code(code).__name__}"
                )


async def _configs_of(
    admin: AIOKafkaAdminClient, names_: Sequence[str]
) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Of each topic all settings in force, and those that were set on the topic itself."""
    values: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names_]
    for answer in await admin.describe_configs(resources):
        for code, message, _, name, entries in answer.resources:
            if code:
                raise LogError(
                    f"topic {name}: its settings cannot be read: {message or errors.for_code(code).__name__}"
                )
            force = {entry[0]: entry[1] or "" for entry in entries}
            values[name] = (
                force,
                {entry[0]: entry[1] or "" for entry in entries if entry[3] == SET_ON_TOPIC},
            )
    return values
