"""Questions to the brokers: who closes while one is asked leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from headwater.errors import LogUnavailable
from headwater.log.kafka import cluster as module
from headwater.log.kafka.cluster import COMMITTED, EARLIEST, Cluster
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.lag import lags
from headwater.log.protocol import Bounds, Position, TopicPartition
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

TPS = [TopicPartition(ACCEPTED, number) for number in range(3)]


class Client:
    """A client that counts how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        """Closed."""
        self.closed += 1


def cluster() -> Cluster:
    """Not connected."""
    return Cluster(Connection(KafkaLogSettings(brokers=["k:9092"])), "test")


async def test_a_connection_that_is_made_while_the_log_closes_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closing finds no client yet; whoever waits for it hears that the log is closed."""
    client, connecting, through = Client(), asyncio.Event(), asyncio.Event()

    async def connected(_: object) -> Any:
        connecting.set()
        await through.wait()
        return client

    monkeypatch.setattr(module, "connected", connected)
    asked = cluster()
    asking = asyncio.create_task(asked.client())
    await connecting.wait()
    await asked.close()
    through.set()
    with pytest.raises(LogUnavailable, match="closed"):
        await asking
    assert client.closed == 1


def others() -> set[asyncio.Task[Any]]:
    """What runs beside the test."""
    return asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}


async def test_where_one_question_fails_the_others_are_not_asked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would go on with a client that may be closed before they end, and connect it anew."""
    asked = cluster()

    async def offsets(tps: Sequence[TopicPartition], which: int, isolation: int = COMMITTED) -> Any:
        del tps, isolation
        if which == EARLIEST:
            raise LogUnavailable("no broker can be reached")
        await asyncio.Event().wait()

    monkeypatch.setattr(asked, "offsets", offsets)
    with pytest.raises(LogUnavailable, match="reached"):
        await asked.bounds(TPS)
    assert others() == set()


async def test_nor_are_the_other_partitions_of_a_lag() -> None:
    """A processor measures it every few seconds and ends when it likes."""

    class Broker:
        """The first partition cannot be read, the others take their time."""

        async def glimpse(self, *_: object) -> dict[TopicPartition, Position]:
            """Nothing was read so far."""
            return {}

        async def bounds(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
            """Of each partition."""
            return {tp: Bounds(0, 10) for tp in tps}

        async def read(self, tp: TopicPartition, *_: object) -> Any:
            """Of all but one for ever."""
            if tp == TPS[0]:
                raise LogUnavailable("no broker can be reached")
            await asyncio.Event().wait()

    with pytest.raises(LogUnavailable, match="reached"):
        await lags(cast("Any", Broker()), "g", TPS)
    assert others() == set()
