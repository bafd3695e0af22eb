"""Topics as brokers tell of them that have just come back: what is waited out, and what is an error in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import errors
from aiokafka.admin import NewTopic

from headwater.errors import LogError, LogUnavailable
from headwater.log.kafka import topics as module
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.topics import Topics
from headwater.log.retention import DAY_S, Policy
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

UNKNOWN = errors.UnknownTopicOrPartitionError.errno
NO_LEADER = errors.LeaderNotAvailableError.errno
EXISTS = errors.TopicAlreadyExistsError.errno
FEW_BROKERS = errors.InvalidReplicationFactorError.errno
WHOLE = (0, 4)


class Brokers(Connection):
    """Answers of brokers, one after another, the last one again and again: how they describe a topic, how its creation ends.

    A description is an error code and a number of partitions.
    """

    def __init__(self, *described: tuple[int, int], created: Sequence[int] = (0,)) -> None:
        super().__init__(KafkaLogSettings(brokers=["k:9092"], partitions=4, topic_prefix="p."))
        self.described, self.created = list(described), list(created)
        self.settings_code = 0
        self.creations = 0
        self.controller: Any = SimpleNamespace(nodeId=1)

    def admin(self) -> Any:
        """The same at each look."""
        return self

    @property
    def cluster(self) -> Brokers:
        """What the client knows of the brokers."""
        return self

    _client = cluster

    async def force_metadata_update(self) -> None:
        """They know no more than before."""

    async def start(self, _: object = None) -> None:
        """Connected at once."""

    async def close(self) -> None:
        """Nothing is open."""

    async def _send_request(self, request: Any) -> Any:
        code, partitions = _next(self.described)
        parts = [(0, number, 1, [1], [1]) for number in range(partitions)]
        return SimpleNamespace(topics=[(code, name, False, parts) for name in request._topics])

    async def create_topics(self, new_topics: Sequence[NewTopic], timeout_ms: int) -> Any:
        """As the controller answers."""
        assert timeout_ms > 0
        assert (
            self.controller.nodeId == 1
        )  # looked at without a thought that there may be none, as aiokafka does
        self.creations += 1
        code = _next(self.created)
        return SimpleNamespace(topic_errors=[(topic.name, code, None) for topic in new_topics])

    async def describe_configs(self, resources: Sequence[Any]) -> Any:
        """Settings, or an error in place of them."""
        return [SimpleNamespace(resources=[(self.settings_code, "", 2, one.name, []) for one in resources])]

    async def alter_configs(self, resources: Sequence[Any]) -> Any:
        """As refused as reading them."""
        return [SimpleNamespace(resources=[(self.settings_code, "", 2, one.name) for one in resources])]


def _next(answers: list[Any]) -> Any:
    return answers.pop(0) if len(answers) > 1 else answers[0]


def topics_of(brokers: Brokers) -> Topics:
    """As a log has them."""
    return Topics(brokers, lambda: Policy(DAY_S))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("SURE_S", 0.2), ("AGAIN_S", 0.001), ("LOOK_S", 0.0)):
        monkeypatch.setattr(module, name, seconds)


async def test_a_topic_that_is_described_in_part_is_looked_at_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The broker that has just come back tells of three of four partitions; the next one, or the same later, of all."""
    brokers = Brokers((0, 3), (0, 3), WHOLE)
    await topics_of(brokers).ensure([ACCEPTED])
    assert brokers.creations == 0
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "has 3 partitions, the workspace wants 4" in told.getMessage()


async def test_another_number_of_partitions_that_stays_is_an_error_with_the_way_out() -> None:
    """It is so on every look: the workspace, or somebody's topic, is wrong."""
    topics, began = topics_of(Brokers((0, 3))), asyncio.get_running_loop().time()
    with pytest.raises(LogError, match=r"p\.events\.accepted has 3 partitions.*back to 3") as raised:
        await topics.ensure([ACCEPTED])
    assert not isinstance(raised.value, LogUnavailable)
    assert asyncio.get_running_loop().time() - began >= module.SURE_S


async def test_a_topic_of_which_a_broker_has_only_the_name_is_waited_for() -> None:
    """No topic has no partitions: that is an answer too early, not one of another size."""
    with pytest.raises(LogUnavailable, match="LeaderNotAvailable"):
        await topics_of(Brokers((NO_LEADER, 0))).ensure([ACCEPTED])


async def test_a_topic_that_one_broker_does_not_know_yet_is_not_told_as_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The controller has it: it refuses to make it once more, and that is believed."""
    brokers = Brokers(WHOLE, (UNKNOWN, 0), WHOLE, created=[EXISTS])
    topics = topics_of(brokers)
    await topics.ensure([ACCEPTED])
    topics.forget(ACCEPTED)
    await topics.ensure([ACCEPTED])
    assert brokers.creations == 1
    assert "lost" not in caplog.text


async def test_a_topic_that_had_to_be_made_again_is_told_as_lost_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first time nobody had it; the second time somebody has deleted it."""
    topics = topics_of(Brokers((UNKNOWN, 0), WHOLE, (UNKNOWN, 0), WHOLE))
    await topics.ensure([ACCEPTED])
    assert caplog.records == []
    for _ in range(2):
        topics.forget(ACCEPTED)
        await topics.ensure([ACCEPTED])
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"topic {ACCEPTED} was not on the brokers any more: what was in it is lost")


async def test_a_topic_of_another_size_behind_a_broker_that_knew_none_is_refused() -> None:
    """What the controller has was never seen: it is looked at like any other."""
    with pytest.raises(LogError, match="has 3 partitions"):
        await topics_of(Brokers((UNKNOWN, 0), (0, 3), created=[EXISTS])).ensure([ACCEPTED])


@pytest.mark.parametrize(
    "passing",
    [errors.NotControllerError, errors.RequestTimedOutError, errors.GroupCoordinatorNotAvailableError],
)
async def test_a_creation_that_fails_for_a_while_is_an_outage(passing: type[errors.KafkaError]) -> None:
    """The controller was killed, or is slow: whoever needs the topic waits, and does not end."""
    topics = topics_of(Brokers((UNKNOWN, 0), (UNKNOWN, 0), WHOLE, created=[passing.errno, EXISTS]))
    with pytest.raises(LogUnavailable, match=f"cannot be created: {passing.__name__}"):
        await topics.ensure([ACCEPTED])
    await topics.ensure([ACCEPTED])


async def test_a_cluster_whose_controller_is_not_known_yet_is_an_outage() -> None:
    """Brokers tell of topics before they know who makes them."""
    brokers = Brokers((UNKNOWN, 0))
    brokers.controller = None
    with pytest.raises(LogUnavailable, match="no broker knows the controller yet"):
        await topics_of(brokers).ensure([ACCEPTED])


async def test_brokers_that_are_still_coming_back_are_counted_again() -> None:
    """A controller refuses three copies while it counts two brokers, as at the start of a cluster."""
    brokers = Brokers(*[(UNKNOWN, 0)] * 3, WHOLE, created=[FEW_BROKERS, FEW_BROKERS, 0])
    await topics_of(brokers).ensure([ACCEPTED])
    assert brokers.creations == 3


async def test_more_copies_than_brokers_is_an_error_in_the_end() -> None:
    """With what to set, and what to type."""
    with pytest.raises(
        LogError, match=r"InvalidReplicationFactorError; create it with .* log\.replication"
    ) as raised:
        await topics_of(Brokers((UNKNOWN, 0), created=[FEW_BROKERS])).ensure([ACCEPTED])
    assert not isinstance(raised.value, LogUnavailable)


@pytest.mark.parametrize(
    ("code", "unavailable"),
    [(UNKNOWN, True), (errors.RequestTimedOutError.errno, True), (errors.PolicyViolationError.errno, False)],
)
async def test_settings_that_cannot_be_had_for_a_while_are_an_outage(code: int, unavailable: bool) -> None:
    """What a broker refuses for good is told as that, to who looks and to who changes."""
    brokers = Brokers(WHOLE)
    topics = topics_of(brokers)
    changes = await topics.plan([ACCEPTED])
    brokers.settings_code = code
    steps: list[Callable[[], Any]] = [
        lambda: topics.plan([ACCEPTED]),
        lambda: topics.apply([change for change in changes if change.kind == "alter"]),
    ]
    for step in steps:
        with pytest.raises(LogError, match=r"topic p\.events\.accepted") as raised:
            await step()
        assert isinstance(raised.value, LogUnavailable) is unavailable


async def test_who_waits_for_an_attempt_that_fails_does_not_make_one_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Brokers that have stalled cost each attempt its patience: a hundred requests one after another would wait an hour."""
    brokers = Brokers(WHOLE)
    looked, stalled = 0, asyncio.Event()

    async def stall(*_: object) -> None:
        nonlocal looked
        looked += 1
        await stalled.wait()
        raise errors.KafkaConnectionError("no answer")

    monkeypatch.setattr(brokers, "start", stall)
    topics = Topics(brokers, lambda: Policy(DAY_S))
    waiting = [asyncio.create_task(topics.ensure([ACCEPTED])) for _ in range(100)]
    await asyncio.sleep(0.01)
    stalled.set()
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(failure) for failure in failures} == {LogUnavailable}
    assert looked == 1
    monkeypatch.undo()
    await topics.ensure([ACCEPTED])
