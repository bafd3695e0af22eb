"""What brokers are asked and told about topics: describe, create, alter.

A broker or controller that has just come back may not know all yet. Where it says so itself, with an error that passes, that
is LogUnavailable. What else it refuses is LogError, though the first such word need not be the last (see `topics.Topics`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.metadata import MetadataRequest

from headwater.errors import LogError, LogUnavailable
from headwater.log.kafka.cluster import CONNECT_S, PATIENCE_S, release
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.failures import reaching

SET_ON_TOPIC = 1  # where a setting comes from, in the broker's answer
Configs = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be, or as it is (`replication` 0 where that is not known)."""

    name: str
    partitions: int
    replication: int
    configs: Configs
    own: Configs = field(default_factory=dict)  # of `configs`, those set on the topic itself


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


async def describe(admin: AIOKafkaAdminClient, names: Sequence[str], *, configs: bool) -> dict[str, Topic]:
    """Those of the topics that the broker knows. Raises KafkaError, or LogError for settings it does not tell."""
    request = MetadataRequest(list(names), allow_auto_topic_creation=False)
    answer = await admin._send_request(request)  # noqa: SLF001 - its public way hides the errors of topics
    shapes = {}
    for code, name, _, parts in answer.topics:
        if code == errors.UnknownTopicOrPartitionError.errno:
            continue
        if code and code != errors.LeaderNotAvailableError.errno:
            raise errors.for_code(code)(name)
        if not parts:  # there is no such topic: the broker has the name and not yet the rest
            raise errors.LeaderNotAvailableError(name)
        shapes[name] = (len(parts), min(len(part[3]) for part in parts))
    values = await _configs_of(admin, list(shapes)) if configs and shapes else {}
    return {name: Topic(name, *shape, *values.get(name, ({}, {}))) for name, shape in shapes.items()}


async def create(admin: AIOKafkaAdminClient, creating: Sequence[Topic]) -> list[str]:
    """Make topics; the names of those that were not there. Raises LogUnavailable, or LogError where one is refused."""
    asked = [
        NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=dict(topic.configs))
        for topic in creating
    ]
    await _find_controller(admin)
    answer = await admin.create_topics(asked, timeout_ms=int(CONNECT_S * 1000))
    made = []
    for name, code, *message in answer.topic_errors:
        if not code:
            made.append(name)
        elif code != errors.TopicAlreadyExistsError.errno:
            raise _refusal(
                f"topic {name} cannot be created",
                code,
                next((text for text in message if text), ""),
                "; create it with `headwater topics apply` as a user who may, or set log.replication and "
                "log.min_insync_replicas to what the cluster has",
            )
    return made


async def _find_controller(admin: AIOKafkaAdminClient) -> None:
    """The client takes it for known; while brokers elect one, or have just started, none of them names it."""
    client = admin._client  # noqa: SLF001 - see above
    if client.cluster.controller is None:
        await client.force_metadata_update()
    if client.cluster.controller is None:
        raise errors.NodeNotReadyError("no broker knows the controller yet")


async def alter(admin: AIOKafkaAdminClient, name: str, values: Configs) -> None:
    """Replace all settings of a topic. Raises LogUnavailable, or LogError where they are refused."""
    answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(values))])
    for answer in answers:
        for code, message, *_ in answer.resources:
            if code:
                raise _refusal(f"topic {name}: the broker refuses its settings", code, message)


async def _configs_of(
    admin: AIOKafkaAdminClient, names: Sequence[str]
) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Of each topic all settings in force, and those that were set on the topic itself."""
    values: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    for answer in await admin.describe_configs(resources):
        for code, message, _, name, entries in answer.resources:
            if code:
                raise _refusal(f"topic {name}: its settings cannot be read", code, message)
            force = {entry[0]: entry[1] or "" for entry in entries}
            values[name] = (
                force,
                {entry[0]: entry[1] or "" for entry in entries if entry[3] == SET_ON_TOPIC},
            )
    return values


def _refusal(what: str, code: int, message: str | None, next_step: str = "") -> LogError:
    """The error for a code: one that passes by itself (no controller, no answer in time, not known yet) is no refusal."""
    kind = errors.for_code(code)
    why = f"{what}: {message or kind.__name__}"
    return LogUnavailable(f"Kafka: {why}; try again") if kind.retriable else LogError(why + next_step)
