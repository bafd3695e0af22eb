"""What a broker answers and nobody can unpack is an outage, whoever asked."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import CorruptRecordException

from headwater.errors import LogUnavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.lag import lags
from headwater.log.kafka.wire import Fetched
from headwater.log.protocol import Bounds, Position, Record, TopicPartition
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

IN = TopicPartition(ACCEPTED, 0)


class Damaged(Fetched):
    """An answer that fails its checksum."""

    def take(self, max_bytes: int) -> list[Record]:
        """Never."""
        raise CorruptRecordException(f"bits were flipped in {max_bytes} bytes")


class Broker:
    """Ten records, none of which can be unpacked."""

    async def glimpse(self, *_: object) -> dict[TopicPartition, Position]:
        """Nothing was read so far."""
        return {}

    async def bounds(self, tps: list[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Of each partition."""
        return {tp: Bounds(0, 10) for tp in tps}

    async def read(self, *_: object) -> Fetched:
        """The damaged answer."""
        return Damaged(0, 10)

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_lag_that_cannot_be_counted_is_an_outage() -> None:
    """A processor measures it every few seconds, and goes on."""
    with pytest.raises(LogUnavailable, match=r"cannot unpack events.accepted\[0\].*bits were flipped"):
        await lags(cast("Any", Broker()), "g", [IN])


async def test_records_that_cannot_be_unpacked_are_an_outage() -> None:
    """They are asked for again; nothing is skipped."""
    log = KafkaLog(KafkaLogSettings(brokers=["k:9092"]))
    log._cluster = cast("Any", Broker())
    async with asyncio.timeout(10):
        with pytest.raises(LogUnavailable, match=r"cannot unpack events.accepted\[0\].*bits were flipped"):
            await log.read(IN, 0)
