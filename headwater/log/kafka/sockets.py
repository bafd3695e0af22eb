"""What aiokafka expects of a transport and uvloop does otherwise.

In the instant between a reset and aiokafka's hearing of it, its connection writes to a transport that is closed. asyncio's
own transports keep quiet then; uvloop's raise RuntimeError, which aiokafka does not expect: the task that keeps a client's
metadata current ended so, and the client asked former leaders for ever. Here it is what it is, a lost connection.

Where two requests by one connection get no answer in time in the same turn of the loop, and somebody has asked for a new
connection in between, aiokafka looks for the one to close where it is not any more: KeyError. Here that is a timeout, too.

A client whose start is cancelled while it asks for its first metadata forgets the connection that it asks by. And one that
needs a connection in the instant between its end and aiokafka's hearing of it forgets it for a new one: nobody closes it
then, and who waits for an answer by it waits until the time is over. Here both are closed. A client that is closed itself
connects anew for whoever still asks by it, and keeps who waits for news of brokers waiting for ever; here it does neither.

What a host says to a new connection may be anything: a name that is none, a signature of SASL that is wrong, no protocol of
Kafka's. aiokafka raises what its parsers raise; here that is a connection that could not be made, like any other. And the
task that keeps a client's metadata current goes on after what nobody foresaw: without it the client waits for ever.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import weakref
from contextvars import ContextVar
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError, RequestTimedOutError

AGAIN_S = 1.0  # before metadata are looked after again

_log = logging.getLogger(__name__)


class _Start:
    """The connections of one start; tasks that it leaves behind inherit it, but theirs are their own."""

    def __init__(self) -> None:
        self.connections: list[Any] = []
        self.over = False


_over: weakref.WeakSet[AIOKafkaClient] = weakref.WeakSet()  # clients that were closed
_start: ContextVar[_Start | None] = ContextVar("the start that makes connections", default=None)


def mend() -> None:
    """Let every connection of this process do so; doing it twice is harmless."""
    for name in ("send", "_send_sasl_token"):
        method = getattr(AIOKafkaConnection, name)
        if not hasattr(method, "__wrapped__"):
            setattr(AIOKafkaConnection, name, _mended(method))
    for owner, name, tidy in (
        (AIOKafkaConnection, "connect", _noted),
        (AIOKafkaClient, "send", _timed_out),
        (AIOKafkaClient, "bootstrap", _closing),
        (AIOKafkaClient, "_get_conn", _replacing),
        (AIOKafkaClient, "_md_synchronizer", _lasting),
        (AIOKafkaClient, "close", _last),
        (AIOKafkaClient, "force_metadata_update", _answered),
    ):
        method = getattr(owner, name)
        if not hasattr(method, "__wrapped__"):
            setattr(owner, name, tidy(method))


def _mended(write: Any) -> Any:
    @functools.wraps(write)
    def mended(connection: Any, *args: Any, **options: Any) -> Any:
        try:
            return write(connection, *args, **options)
        except RuntimeError as error:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(
                f"the connection to {connection.host}:{connection.port} is lost: {error}"
            ) from error

    return mended


def _timed_out(ask: Any) -> Any:
    @functools.wraps(ask)
    async def timed_out(client: Any, *args: Any, **options: Any) -> Any:
        try:
            return await ask(client, *args, **options)
        except KeyError as error:
            if not isinstance(error.__context__, TimeoutError):
                raise
            raise RequestTimedOutError("no answer in time, by a connection that was replaced") from error

    return timed_out


def _replacing(get: Any) -> Any:
    @functools.wraps(get)
    async def replacing(
        client: Any, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, **options: Any
    ) -> Any:
        if client in _over:
            return None
        ended = client._conns.get((node_id, group))  # noqa: SLF001 - aiokafka only takes it out of there
        if ended is not None and not ended.connected():
            ended.close(reason=CloseReason.CONNECTION_BROKEN)
        made = await get(client, node_id, group=group, **options)
        if made is None or client not in _over:
            return made
        made.close(reason=CloseReason.SHUTDOWN)
        return None

    return replacing


def _last(close: Any) -> Any:
    @functools.wraps(close)
    async def last(client: Any) -> None:
        _over.add(client)
        await close(client)

    return last


def _answered(look: Any) -> Any:
    @functools.wraps(look)
    def answered(client: Any) -> Any:
        if client not in _over:
            return look(client)
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(KafkaConnectionError("this client is closed"))
        answer.exception()  # heard, lest it is logged as forgotten where nobody waits for it
        return answer

    return answered


def _noted(connect: Any) -> Any:
    @functools.wraps(connect)
    async def noted(connection: Any) -> Any:
        if (start := _start.get()) is not None and not start.over:
            start.connections.append(connection)
        try:
            return await connect(connection)
        except (KafkaError, OSError, TimeoutError):
            raise
        except Exception as error:
            raise KafkaConnectionError(
                f"no connection to {connection.host}:{connection.port}: {type(error).__name__}: {error}"
            ) from error

    return noted


def _lasting(look_after: Any) -> Any:
    @functools.wraps(look_after)
    async def lasting(client: Any) -> None:
        while True:
            try:
                await look_after(client)
            except Exception:  # noqa: BLE001 - its supervisor: whatever it died of, the client needs it
                _log.exception("keeping what is known of Kafka's topics current failed; it is tried again")
                await asyncio.sleep(AGAIN_S)

    return lasting


def _closing(bootstrap: Any) -> Any:
    @functools.wraps(bootstrap)
    async def closing(client: Any) -> None:
        start = _Start()
        token = _start.set(start)
        try:
            await bootstrap(client)
        except BaseException:
            for connection in start.connections:
                connection.close(reason=CloseReason.SHUTDOWN)
            raise
        finally:
            start.over = True
            start.connections.clear()
            _start.reset(token)

    return closing
