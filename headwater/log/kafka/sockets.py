"""What aiokafka expects of a transport and uvloop does otherwise.

In the instant between a reset and aiokafka's hearing of it, its connection writes to a transport that is closed. asyncio's
own transports keep quiet then; uvloop's raise RuntimeError, which aiokafka does not expect: the task that keeps a client's
metadata current ended so, and the client asked former leaders for ever. Here it is what it is, a lost connection.
"""

from __future__ import annotations

import functools
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


def mend() -> None:
    """Let every connection of this process do so; doing it twice is harmless."""
    for name in ("send", "_send_sasl_token"):
        method = getattr(AIOKafkaConnection, name)
        if not hasattr(method, "__wrapped__"):
            setattr(AIOKafkaConnection, name, _mended(method))


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
