"""The topics that a workspace needs on Kafka, what differs on the cluster, and making it so.

`wanted` and `plan` are pure. Missing topics are made by any stage that needs them, for destinations come and go while
Headwater runs; what exists is changed by `headwater topics apply` alone. A number of partitions is never changed: the
partition of an event is that of its key, and the state of a processor that of its partition.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from headwater.errors import LogError, LogUnavailable
from headwater.log import topics
from headwater.log.kafka.admin import Topic, alter, connected_admin, create, describe
from headwater.log.kafka.connection import RECORD_BYTES, Connection
from headwater.log.retention import TOMBSTONE_S, Policy
from headwater.log.topics import TopicSpec, spec_of

SLACK_BYTES = 1 << 20  # a batch may be a little larger than its records
SEGMENT_BYTES = 64 << 20
LOOKS, LOOK_S = 100, 0.05
SURE_S = 10.0  # how long a misfit must be seen before it is believed
AGAIN_S = 0.5  # the pause between two looks
_DAY_MS = 86_400_000
_FOREVER = 2**63 - 1

_log = logging.getLogger(__name__)

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


def _refuse_misfits(needed: Sequence[Topic], found: Mapping[str, Topic]) -> None:
    for topic in needed:
        if topic.name in found and found[topic.name].partitions != topic.partitions:
            raise LogError(f"topic {topic.name} {_resized(topic, found[topic.name])}")


async def _until_sure(attempt: Callable[[], Awaitable[None]]) -> None:
    """Raises LogError once `attempt` has raised nothing else for `SURE_S`.

    A broker that has just come back may describe a topic without all of its partitions, a controller may not count all
    brokers yet. Each attempt asks a broker chosen anew, so that the misconfiguration that remains is one on all of them.
    """
    loop = asyncio.get_running_loop()
    give_up, told = loop.time() + SURE_S, False
    while True:
        try:
            return await attempt()
        except LogError as error:
            if isinstance(error, LogUnavailable) or loop.time() >= give_up:
                raise
            if not told:
                _log.warning("looking again for %.0f s, for brokers may not know all yet: %s", SURE_S, error)
            told = True
        await asyncio.sleep(AGAIN_S)


class Topics:
    """Looks at topics and changes them; `policy` tells how long records are kept."""

    def __init__(self, connection: Connection, policy: Callable[[], Policy]) -> None:
        self._connection, self._policy = connection, policy
        self._there: set[str] = set()
        self._doubted: set[str] = set()  # were there, and a client was not told of them since
        self._turn = asyncio.Lock()
        self._failure: tuple[float, LogUnavailable] | None = None  # of the last attempt, and when it ended

    def wanted(self, names_: Iterable[str]) -> list[Topic]:
        """The topics as the workspace wants them."""
        return [wanted(name, self._connection, self._policy()) for name in names_]

    async def plan(self, names_: Iterable[str]) -> list[Change]:
        """What differs on the cluster. Raises LogUnavailable."""
        needed = self.wanted(names_)
        return plan(needed, await self.found([topic.name for topic in needed]))

    def forget(self, name: str) -> None:
        """Look at a topic anew: a client was not told of it. It is gone, or a broker does not know all yet."""
        self._there.discard(name)
        self._doubted.add(name)

    async def ensure(self, names_: Iterable[str]) -> None:
        """Make what is missing. Raises LogUnavailable, or LogError for topics that do not fit the settings."""
        if not (missing := set(names_) - self._there):
            return
        clock = asyncio.get_running_loop().time
        came = clock()
        async with self._turn:
            if (
                self._failure is not None and self._failure[0] >= came
            ):  # while this one waited: it need not try, too
                raise LogUnavailable(str(self._failure[1])) from self._failure[1]
            missing -= self._there
            try:
                await _until_sure(lambda: self._make(sorted(missing)))
            except LogUnavailable as error:
                self._failure = (clock(), error)
                raise
            self._there |= missing
            self._doubted -= missing

    async def _make(self, names_: Sequence[str]) -> None:
        needed = self.wanted(names_)
        found = await self.found([topic.name for topic in needed], configs=False)
        _refuse_misfits(needed, found)
        if creating := [topic for topic in needed if topic.name not in found]:
            async with connected_admin(self._connection) as admin:
                made = await create(admin, creating)
            self._tell_of_lost(made)
            _refuse_misfits(creating, await self._seen([topic.name for topic in creating]))

    def _tell_of_lost(self, made: Sequence[str]) -> None:
        """That a topic was gone is certain where the controller has made it: one that is there it makes no second time."""
        for name in self._doubted:
            if self._connection.settings.topic_prefix + name in made:
                _log.error(
                    "topic %s was not on the brokers any more: what was in it is lost, it is made anew", name
                )

    async def _seen(self, full_names: Sequence[str]) -> dict[str, Topic]:
        """Wait until brokers know of what the controller has. Raises LogUnavailable."""
        for _ in range(LOOKS):
            if len(found := await self.found(full_names, configs=False)) == len(full_names):
                return found
            await asyncio.sleep(LOOK_S)
        raise LogUnavailable(
            f"Kafka: topics were created and yet are not known: {', '.join(full_names)}; try again"
        )

    async def found(self, full_names: Sequence[str], *, configs: bool = True) -> dict[str, Topic]:
        """Those of the topics that exist. Raises LogUnavailable."""
        async with connected_admin(self._connection) as admin:
            return await describe(admin, full_names, configs=configs)

    async def apply(self, changes: Sequence[Change]) -> None:
        """Create and alter; refused changes are left out. Raises LogUnavailable or LogError."""
        creating = [change.wanted for change in changes if change.kind == "create"]
        async with connected_admin(self._connection) as admin:
            if creating:
                await create(admin, creating)
                await self._seen([topic.name for topic in creating])
            for change in changes:
                if change.kind == "alter":  # of all settings, so the operator's own go with it
                    await alter(admin, change.topic, {**change.kept, **change.configs})
