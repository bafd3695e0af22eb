"""aiokafka's connections where they meet what it does not expect."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError, RequestTimedOutError
from aiokafka.protocol.admin import ApiVersionRequest

from headwater.log.kafka import sockets
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


@pytest.fixture
async def broker(
    client: AIOKafkaClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncio.StreamWriter]:
    """The broker's end of a connection that the client has; it never answers."""

    async def ask_nothing(_: AIOKafkaConnection) -> None:
        """It would wait for the broker's versions."""

    monkeypatch.setattr(AIOKafkaConnection, "_do_version_lookup", ask_nothing)
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    async with await asyncio.start_server(lambda _, far: accepted.put_nowait(far), "127.0.0.1", 0) as server:
        client._conns[THE_ONE] = await create_conn(*server.sockets[0].getsockname())
        far = await accepted.get()
        yield far
        far.close()


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


async def test_a_connection_that_has_just_ended_is_closed_before_it_is_replaced(
    client: AIOKafkaClient, broker: asyncio.StreamWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the turn in which its end was read, and nobody has been told: who waits for an answer hears of it at once."""
    left: list[str] = []
    # pytest keeps what is logged, an error with its frames, and so the connection
    monkeypatch.setattr(logging.getLogger("aiokafka"), "disabled", True)
    monkeypatch.setattr(sys, "unraisablehook", lambda told: left.append(str(told.exc_value)))
    waiting = asyncio.create_task(client.send(1, ApiVersionRequest()))
    while not client._conns[THE_ONE]._requests:
        await asyncio.sleep(0)
    broker.write_eof()
    while client._conns[THE_ONE].connected():
        await asyncio.sleep(0)
    assert await client._get_conn(1) is None  # that broker is in no metadata
    async with asyncio.timeout(5):
        with pytest.raises(KafkaConnectionError, match="closed"):
            await waiting
    gc.collect()
    assert left == []


@pytest.mark.parametrize(
    ("host", "trouble"),
    [
        ("a..b", UnicodeError("label empty or too long")),
        ("127.0.0.1", ValueError("Server sent wrong signature!")),
        ("127.0.0.1", KeyError("r")),
        ("127.0.0.1", AssertionError("5 should be less than or equal to 3")),
    ],
)
async def test_whatever_a_host_says_to_a_new_connection_it_is_one_that_cannot_be_made(
    host: str, trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address and the reason are named; nothing but that comes out, so that it is tried again."""

    async def shake_hands(_: AIOKafkaConnection) -> None:
        raise trouble

    monkeypatch.setattr(AIOKafkaConnection, "_do_version_lookup", shake_hands)
    async with await asyncio.start_server(lambda _, far: far.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(
            KafkaConnectionError, match=f"no connection to {host}:{port}: {type(trouble).__name__}"
        ):
            await create_conn(host, port)


async def test_metadata_are_looked_after_again_when_that_has_failed(
    client: AIOKafkaClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that nobody tells of new leaders would ask the old ones until the process is started again."""
    monkeypatch.setattr(sockets, "AGAIN_S", 0.0)
    answers = iter([ZeroDivisionError("a defect"), None])

    async def update(*_: object) -> bool:
        if (failure := next(answers)) is not None:
            raise failure
        return True

    monkeypatch.setattr(client, "_metadata_update", update)
    client._sync_task = asyncio.create_task(client._md_synchronizer())
    async with asyncio.timeout(5):
        assert await client.force_metadata_update() is True
    assert "a defect" in caplog.text
    await client.close()


async def connections_after(
    client: AIOKafkaClient, monkeypatch: pytest.MonkeyPatch, *, closed_first: bool
) -> list[str]:
    """What a broker has of a client that is closed before, or while, somebody needs a connection: `end` for each one."""
    ends: list[str] = []
    asked, answered = asyncio.Event(), asyncio.Event()

    async def ask_versions(_: AIOKafkaConnection) -> None:
        asked.set()
        await answered.wait()

    async def serve(near: asyncio.StreamReader, far: asyncio.StreamWriter) -> None:
        ends.append("end" if await near.read() == b"" else "more")
        far.close()

    monkeypatch.setattr(AIOKafkaConnection, "_do_version_lookup", ask_versions)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        monkeypatch.setattr(
            client.cluster, "broker_metadata", lambda _: SimpleNamespace(host=host, port=port)
        )
        if closed_first:
            await client.close()
        connecting = asyncio.create_task(client._get_conn(1))
        if not closed_first:
            await asked.wait()
            await client.close()
        answered.set()
        assert await connecting is None
        await asyncio.sleep(0.05)  # nothing is seen where nobody connects
    return ends


@pytest.mark.parametrize(("closed_first", "seen"), [(True, []), (False, ["end"])])
async def test_a_client_that_is_closed_has_no_connection(
    client: AIOKafkaClient, monkeypatch: pytest.MonkeyPatch, closed_first: bool, seen: list[str]
) -> None:
    """Whoever asked by it while it was closed would make one that nobody closes."""
    async with asyncio.timeout(10):
        assert await connections_after(client, monkeypatch, closed_first=closed_first) == seen


async def test_a_client_that_is_closed_keeps_nobody_waiting(client: AIOKafkaClient) -> None:
    """News of the brokers will not come."""
    await client.close()
    async with asyncio.timeout(10):
        with pytest.raises(KafkaConnectionError, match="closed"):
            await client.force_metadata_update()
