"""A member that leaves, or never gets as far as its caller, gives back what it holds, whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from headwater.errors import LogUnavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka import consumer as module
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.consumer import KafkaMember
from headwater.log.kafka.place import Place
from headwater.log.protocol import TopicPartition
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

P0 = TopicPartition(ACCEPTED, 0)


class Brokers:
    """The group's coordinator, the client and the other members, of which the test says where they stand still."""

    prefix, over = "", False
    drop: Any

    def __init__(self) -> None:
        self.still = asyncio.Event()
        self.closed = 0

    async def set_topics(self, _: object) -> None:
        """Known at once."""

    async def stand_still(self, *_: object) -> None:
        """For ever."""
        self.still.set()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """As a client does, when it is let go of."""
        self.closed += 1

    async def pass_by(self, *_: object) -> None:
        """Nothing to do."""

    settle = revoked = left = pass_by

    def abandon(self) -> Sequence[asyncio.Task[None]]:
        """No task to wait for."""
        return ()


class Stage:
    """Who reads as a member; keeps what it holds."""

    def __init__(self) -> None:
        self.held: set[TopicPartition] = set()

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """More."""
        self.held.update(partitions)

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Less."""
        self.held.difference_update(partitions)


def member_of(brokers: Brokers, stage: Stage) -> KafkaMember:
    """One that has not joined."""
    connection = Connection(KafkaLogSettings(brokers=["k:9092"]))
    return KafkaMember(connection, cast("Any", brokers), "g", [ACCEPTED], stage, cast("Any", brokers))


async def cancelled_while_it_stands_still(brokers: Brokers, doing: Any) -> None:
    """Begin, and cancel it there."""
    task = asyncio.create_task(doing)
    async with asyncio.timeout(10):
        await brokers.still.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_member_whose_leaving_is_cancelled_keeps_no_connection() -> None:
    """The log closes it a second time, and finds it closed: then it has to be."""
    brokers, stage = Brokers(), Stage()
    member = member_of(brokers, stage)
    coordinator: Any = Brokers()
    coordinator.close, coordinator.still = coordinator.stand_still, brokers.still
    member._client, member._coordinator, member._places = cast("Any", brokers), coordinator, {P0: Place(1)}
    stage.held.add(P0)
    await cancelled_while_it_stands_still(brokers, member.close())
    await member.close()
    assert (brokers.closed, stage.held, member.assignment()) == (1, set(), frozenset())


class Leaving(Brokers):
    """A coordinator that takes its leave until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.left_group = asyncio.Event()

    async def close(self) -> None:
        """Stand still for a while, the first time; as aiokafka's does."""
        self.closed += 1
        self.still.set()
        if self.closed == 1:
            await self.left_group.wait()


@pytest.mark.parametrize("second", ["closes it too", "still joins it"])
async def test_who_closes_a_member_a_second_time_waits_for_the_first(
    monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """A stage and the log at once: the one would end what the other waits for, which then would look like a cancellation."""
    brokers, coordinator = Brokers(), Leaving()
    member = member_of(brokers, Stage())

    async def connected(_: object) -> Any:
        return brokers

    def coordinate(_: object) -> None:
        member._coordinator = cast("Any", coordinator)

    monkeypatch.setattr(module, "connected", connected)
    monkeypatch.setattr(KafkaMember, "_coordinate", coordinate)
    joining = asyncio.create_task(member.join())
    while member._coordinator is None:
        await asyncio.sleep(0)
    first = asyncio.create_task(member.close())
    await coordinator.still.wait()
    if second == "still joins it":
        member._settled.set()
        other: asyncio.Task[None] = joining
    else:
        other = asyncio.create_task(member.close())
    await asyncio.wait([other], timeout=0.05)
    assert (other.done(), brokers.closed) == (False, 0)
    coordinator.left_group.set()
    await first
    with pytest.raises(LogUnavailable, match="closed while a consumer joined"):
        await joining
    await asyncio.wait([other])
    assert brokers.closed == 1


async def test_a_member_whose_joining_is_cancelled_gives_its_share_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has its share and waits for the others: nobody else knows of it, so nobody else would close it."""
    brokers, stage = Brokers(), Stage()
    brokers.settle = brokers.stand_still  # type: ignore[method-assign]
    member = member_of(brokers, stage)

    async def connected(_: object) -> Any:
        return brokers

    def joined(_: KafkaMember) -> None:
        member._places = {P0: Place(1)}
        stage.held.add(P0)
        member._settled.set()

    monkeypatch.setattr(module, "connected", connected)
    monkeypatch.setattr(KafkaMember, "_coordinate", joined)
    await cancelled_while_it_stands_still(brokers, member.join())
    assert (brokers.closed, stage.held) == (1, set())


@pytest.mark.parametrize("when", ["connecting", "asking", "joining"])
async def test_a_member_that_joins_a_log_that_is_closed_meanwhile_does_not(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Closed before it holds anything: what it gets after that it gives back at once."""
    brokers, go_on = Brokers(), asyncio.Event()
    member = member_of(brokers, Stage())

    async def wait_for(step: str) -> None:
        if step == when:
            brokers.still.set()
            await go_on.wait()

    async def connected(_: object) -> Any:
        await wait_for("connecting")
        return brokers

    monkeypatch.setattr(brokers, "set_topics", lambda _: wait_for("asking"))
    monkeypatch.setattr(module, "connected", connected)
    monkeypatch.setattr(KafkaMember, "_coordinate", lambda _: brokers.still.set())
    joining = asyncio.create_task(member.join())
    async with asyncio.timeout(10):
        await brokers.still.wait()
        await member.close()
        go_on.set()
        with pytest.raises(LogUnavailable, match="closed while a consumer joined"):
            await joining
    assert brokers.closed == 1


@pytest.mark.parametrize("where", ["member", "fences", "appender", "watch"])
async def test_a_log_whose_closing_is_cancelled_closes_the_rest_all_the_same(where: str) -> None:
    """A second Ctrl-C, or a stage that fails beside it, wherever it is just then."""
    log = KafkaLog(KafkaLogSettings(brokers=["k:9092"]))
    parts = {name: Brokers() for name in ("member", "fences", "appender", "watch", "cluster")}
    log._members.add(cast("Any", parts["member"]))
    for name in ("fences", "appender", "watch", "cluster"):
        setattr(log, f"_{name}", parts[name])
    parts["fences"].drop = parts["fences"].close
    parts[where].drop = parts[where].close = parts[where].stand_still  # type: ignore[method-assign]
    await cancelled_while_it_stands_still(parts[where], log.__aexit__())
    assert {name for name, part in parts.items() if part.closed} == set(parts) - {where}
