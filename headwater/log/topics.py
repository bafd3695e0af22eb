"""Every topic, who writes it, and how long it is kept.

On one machine each writing process has one database file, named by `writer`; on Kafka the names are the topics' names.
`accepted`, `processed` and `dropped` have the same number of partitions and an event stays in its partition, so that the
state of input partition n is a fold of partition n of the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal
from zlib import crc32

Writer = Literal["collector", "processor", "destinations"]

ACCEPTED = "events.accepted"
PROCESSED = "events.processed"
DROPPED = "events.dropped"
PROFILES = "profiles"
TOTALS = "totals"  # exact running counts, one key a partition, written in the transaction that they count
DELIVERIES = "deliveries"  # what became of each batch at each destination
RETRY_PREFIX = "retry."  # retry.<destination>: one partition per delay tier
DEAD_PREFIX = "dead."  # dead.<destination>
DESTINATION_TOTALS = "totals.destinations"

FOLDED = frozenset(
    (PROCESSED, DROPPED)
)  # the processors' state is rebuilt from these: they outlive the dedupe window

PROCESSOR_GROUP = "processor"
DESTINATION_GROUP_PREFIX = "destination."

RETRY_TIERS = (5, 30, 120, 600, 3600, 14_400)  # seconds; a retry waits in the tier at or below its due delay

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic's shape. `retention_s` 0 keeps for ever; compacted topics keep the last value of each key."""

    name: str
    writer: Writer
    partitions: int
    compacted: bool = False
    retention_s: int = 7 * _DAY


@cache
def _declared(partitions: int) -> dict[str, TopicSpec]:
    return {
        spec.name: spec
        for spec in (
            TopicSpec(ACCEPTED, "collector", partitions),
            TopicSpec(PROCESSED, "processor", partitions),
            TopicSpec(DROPPED, "processor", partitions, retention_s=30 * _DAY),
            TopicSpec(PROFILES, "processor", partitions, compacted=True, retention_s=0),
            TopicSpec(TOTALS, "processor", 1, compacted=True, retention_s=0),
            TopicSpec(DESTINATION_TOTALS, "destinations", 1, compacted=True, retention_s=0),
            TopicSpec(DELIVERIES, "destinations", 1),
        )
    }


def spec_of(topic: str, partitions: int = 1) -> TopicSpec:
    """The declaration of any topic; `partitions` is the workspace's `log.partitions`. Raises ValueError."""
    if (spec := _declared(partitions).get(topic)) is not None:
        return spec
    if topic.startswith(RETRY_PREFIX):
        return TopicSpec(topic, "destinations", len(RETRY_TIERS), retention_s=30 * _DAY)
    if topic.startswith(DEAD_PREFIX):
        return TopicSpec(topic, "destinations", 1, retention_s=0)
    raise ValueError(f"unknown topic {topic!r}; the topics are declared in headwater.log.topics")


def group_writer(group: str) -> Writer:
    """Which process stores a group's positions."""
    return "processor" if group == PROCESSOR_GROUP else "destinations"


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: stable across processes, machines and Python versions."""
    return crc32(key.encode("utf-8", "surrogatepass")) % partitions if partitions > 1 else 0


def event_key(anonymous_id: str | None, user_id: str | None) -> str:
    """What an event is partitioned by: a retry carries the same ids, so duplicates meet, and a person keeps order."""
    return anonymous_id or user_id or ""
