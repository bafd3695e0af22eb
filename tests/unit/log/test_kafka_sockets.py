"""aiokafka's connections where they meet what it does not expect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import RequestTimedOutError

from headwater.log.kafka.connection import Connection
from headwater.workspace.model import KafkaLogSettings

THE_ONE = (1, ConnectionGroup.DEFAULT)


@pytest.fixture
async def client() -> AIOKafkaClient:
    """A client with a connection of which the test says what it does."""
    return Connection(KafkaLogSettings(brokers=["k:9092"])).client("test")


def connect(client: AIOKafkaClient, error: Exception, *, replaced: bool) -> None:
    """A connection whose requests raise this; `replaced`: while they wait, somebody makes a new one."""

    async def wait() -> None:
        if replaced:
            del client._conns[THE_ONE]
        raise error

    made: Any = SimpleNamespace(
        connected=lambda: True, send=lambda *_, **__: wait(), close=lambda reason: reason
    )
    client._conns[THE_ONE] = made


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_request_without_an_answer_is_a_timeout(client: AIOKafkaClient, replaced: bool) -> None:
    """Also where its connection is being replaced already: whoever asks knows how to wait out the one, not a KeyError."""
    connect(client, TimeoutError(), replaced=replaced)
    with pytest.raises(RequestTimedOutError):
        await client.send(1, object())


async def test_another_missing_key_is_a_defect_like_before(client: AIOKafkaClient) -> None:
    """Nothing is hidden that nobody has understood."""
    connect(client, KeyError("a defect"), replaced=False)
    with pytest.raises(KeyError, match="a defect"):
        await client.send(1, object())
