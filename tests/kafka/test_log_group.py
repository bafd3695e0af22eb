"""A member of a group whose coordinator meets what aiokafka does not foresee: it says so once, and works again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka.errors import KafkaError

from headwater.errors import LogUnavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.consumer import KafkaMember
from headwater.log.kafka.group import Coordinator
from headwater.log.protocol import Entry, Record
from headwater.log.retention import DAY_S, Policy
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(100)]


@pytest.fixture
async def log(kafka: str, topic_prefix: str) -> AsyncIterator[KafkaLog]:
    """A log on a real broker."""
    settings = KafkaLogSettings(
        brokers=[kafka], partitions=1, replication=1, min_insync_replicas=1, topic_prefix=topic_prefix
    )
    async with KafkaLog(settings, policy=lambda: Policy(DAY_S)) as opened:
        yield opened


@pytest.fixture
async def member(log: KafkaLog) -> KafkaMember:
    """The only member of a group."""
    joined = await log.consumer("readers", [ACCEPTED])
    assert isinstance(joined, KafkaMember)
    return joined


def fail_once(monkeypatch: pytest.MonkeyPatch, step: str, error: Exception) -> Callable[[], bool]:
    """Let a step of the coordinator raise, the next time; whether it has."""
    real, raised = getattr(Coordinator, step), asyncio.Event()

    async def step_(*args: object) -> object:
        if not raised.is_set():
            raised.set()
            raise error
        return await real(*args)

    monkeypatch.setattr(Coordinator, step, step_)
    return raised.is_set


async def poll_on(member: KafkaMember) -> None:
    """Poll until it raises."""
    async with asyncio.timeout(30):
        while True:
            await member.poll(timeout=0.2)


async def read(member: KafkaMember) -> tuple[list[bytes | None], int]:
    """The values of the next records, and how often the member said that it does not work."""
    refused = 0
    async with asyncio.timeout(30):
        while True:
            try:
                if batches := await member.poll(timeout=0.2):
                    return [record.value for batch in batches for record in batch.records], refused
            except LogUnavailable:
                refused += 1


async def test_a_coordinator_that_ends_is_replaced(
    log: KafkaLog, member: KafkaMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its process would hold nothing, and say the same for ever."""
    failed = fail_once(monkeypatch, "ensure_active_group", KeyError("a race"))
    member.rejoin()
    with pytest.raises(LogUnavailable, match=r"the group 'readers' does not work.*a race"):
        await poll_on(member)
    assert failed()
    await log.append([Entry(ACCEPTED, 0, Record(b"after"))])
    assert await read(member) == ([b"after"], 0)


async def test_heartbeats_that_end_begin_again(
    log: KafkaLog, member: KafkaMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator that is loading may refuse one; a member without them would lose its partitions and not hear of it."""
    failed = fail_once(monkeypatch, "_do_heartbeat", KafkaError("not yet"))
    with pytest.raises(LogUnavailable, match="not yet"):
        await poll_on(member)
    assert failed()
    async with asyncio.timeout(30):
        await member.settled.wait()
    await log.append([Entry(ACCEPTED, 0, Record(b"after"))])
    assert await read(member) == ([b"after"], 0)
    coordinator = member._coordinator
    assert coordinator is not None
    assert not coordinator._heartbeat_task.done()
