"""The topics a workspace needs, and making a cluster have them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from headwater.errors import LogError
from headwater.log.kafka import KafkaLog
from headwater.log.kafka import topics as module
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.topics import Topics, names, plan
from headwater.log.retention import DAY_S, Policy
from headwater.log.topics import ACCEPTED, DROPPED, PROFILES
from headwater.workspace.model import KafkaLogSettings

pytestmark = pytest.mark.kafka
POLICY = Policy(7 * DAY_S)


def settings(bootstrap: str, prefix: str, partitions: int = 2) -> KafkaLogSettings:
    """One copy, for one broker."""
    return KafkaLogSettings(
        brokers=[bootstrap], partitions=partitions, replication=1, min_insync_replicas=1, topic_prefix=prefix
    )


def topics_of(bootstrap: str, prefix: str, policy: Policy = POLICY, partitions: int = 2) -> Topics:
    """What `headwater topics` works with."""
    return Topics(Connection(settings(bootstrap, prefix, partitions)), lambda: policy)


async def test_what_is_planned_is_made_and_nothing_is_left_to_do(kafka: str, topic_prefix: str) -> None:
    """Topics of the stages and of each destination, with their partitions, retention and compaction."""
    topics = topics_of(kafka, topic_prefix)
    wanted = names(["hook"])
    changes = await topics.plan(wanted)
    assert {change.kind for change in changes} == {"create"}
    assert {change.topic.removeprefix(topic_prefix) for change in changes} == set(wanted)
    await topics.apply(changes)
    assert await topics.plan(wanted) == []
    found = await topics.found([topic_prefix + name for name in (ACCEPTED, PROFILES, DROPPED, "retry.hook")])
    accepted, profiles, dropped, retry = found.values()
    assert (accepted.partitions, retry.partitions) == (2, 6)
    assert accepted.configs["retention.ms"] == str(7 * DAY_S * 1000)
    assert dropped.configs["retention.ms"] == str(30 * DAY_S * 1000)
    assert (profiles.configs["cleanup.policy"], accepted.configs["cleanup.policy"]) == ("compact", "delete")
    assert accepted.configs["min.insync.replicas"] == "1"


async def test_a_changed_setting_is_applied_and_the_operators_own_ones_stay(
    kafka: str, topic_prefix: str
) -> None:
    """The retention follows the workspace; what somebody else has set on the topic is kept."""
    topics = topics_of(kafka, topic_prefix)
    await topics.ensure([ACCEPTED])
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    found = (await topics.found([topic_prefix + ACCEPTED]))[topic_prefix + ACCEPTED]
    values = {**found.own, "flush.messages": "12345"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic_prefix + ACCEPTED, values)])
    await admin.close()
    longer = topics_of(kafka, topic_prefix, Policy(9 * DAY_S))
    changes = await longer.plan([ACCEPTED])
    assert [(change.kind, dict(change.configs)) for change in changes] == [
        ("alter", {"retention.ms": str(9 * DAY_S * 1000)})
    ]
    await longer.apply(changes)
    after = (await longer.found([topic_prefix + ACCEPTED]))[topic_prefix + ACCEPTED]
    assert (after.configs["retention.ms"], after.configs["flush.messages"]) == (
        str(9 * DAY_S * 1000),
        "12345",
    )


@pytest.fixture
def _soon_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody restarts the broker of these tests: what it says at first is so."""
    monkeypatch.setattr(module, "SURE_S", 0.2)


@pytest.mark.usefixtures("_soon_sure")
async def test_another_number_of_partitions_is_refused_with_the_way_to_do_it(
    kafka: str, topic_prefix: str
) -> None:
    """By the plan and by a log that is opened with it; nothing is changed."""
    await topics_of(kafka, topic_prefix).ensure([ACCEPTED])
    wider = topics_of(kafka, topic_prefix, partitions=4)
    (change,) = await wider.plan([ACCEPTED])
    assert change.kind == "refuse"
    assert "has 2 partitions, the workspace wants 4" in change.what
    await wider.apply([change])
    assert (await wider.found([topic_prefix + ACCEPTED]))[topic_prefix + ACCEPTED].partitions == 2
    with pytest.raises(LogError, match="back to 2"):
        await KafkaLog(settings(kafka, topic_prefix, 4), policy=lambda: POLICY).__aenter__()


@pytest.mark.usefixtures("_soon_sure")
async def test_more_copies_than_there_are_brokers_is_a_clear_error(kafka: str, topic_prefix: str) -> None:
    """The topic, why, and what to type."""
    three = settings(kafka, topic_prefix).model_copy(update={"replication": 3})
    with pytest.raises(LogError, match="headwater topics apply"):
        await Topics(Connection(three), lambda: POLICY).ensure([ACCEPTED])


def test_a_topic_of_another_kind_is_refused() -> None:
    """Compaction would remove records of a topic that is none of ours."""
    (wanted,) = topics_of("k:9092", "").wanted([PROFILES])
    there = replace(wanted, configs={**wanted.configs, "cleanup.policy": "delete"})
    (change,) = plan([wanted], {wanted.name: there})
    assert (change.kind, "must be compact" in change.what) == ("refuse", True)
