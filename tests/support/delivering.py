"""A webhook delivery over a log in memory and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from destinations.kit.books import all_totals
from destinations.kit.delivery import Delivery
from destinations.kit.inspect import records
from destinations.kit.letters import Letter, open_letters
from destinations.kit.records import Delivery as DeliveryRecord
from destinations.kit.records import Totals, decode_delivery
from destinations.kit.registry import configure, select_for
from headwater.clock import Clock, ManualClock, SystemClock
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Log, Record, TopicPartition
from headwater.log.topics import DELIVERIES, DESTINATION_TOTALS, PROCESSED
from headwater.workspace.model import Workspace

NAME = "hook"
IDLE_S = 0.005  # the clock is manual: look at it often


def event(number: int, **more: Any) -> dict[str, Any]:
    """A processed track event."""
    return {
        "type": "track",
        "messageId": f"m{number}",
        "sourceId": "web",
        "channel": "browser",
        "receivedAt": "2026-01-02T03:04:05.678Z",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "anonymousId": "a1",
        "event": "Report Viewed",
        "properties": {"number": number},
        "context": {},
        **more,
    }


def record(events: Sequence[dict[str, Any]]) -> Record:
    """One record of the processed topic."""
    return Record(b"\n".join(orjson.dumps(each) for each in events), events=len(events))


async def publish(
    log: Log, events: Sequence[dict[str, Any]], per_record: int = 10, partition: int = 0
) -> None:
    """Write events to the processed topic."""
    chunks = [events[start : start + per_record] for start in range(0, len(events), per_record)]
    await log.append([Entry(PROCESSED, partition, record(chunk)) for chunk in chunks])


def workspace(url: str, **options: Any) -> Workspace:
    """A workspace with one webhook; `options` go into its mapping."""
    delivery = {"batch": {"max_wait_s": 0.0}, **options.pop("delivery", {})}
    hook = {"type": "webhook", "url": url, "allow_private": True, "delivery": delivery, **options}
    sources = {
        "web": {"kind": "browser", "write_keys": ["w"]},
        "api": {"kind": "server", "write_keys": ["a"]},
    }
    return Workspace.model_validate({"workspace": "test", "sources": sources, "destinations": {NAME: hook}})


async def letters_of(log: Log, name: str) -> list[Letter]:
    """The open dead letters of a destination."""
    return [letter async for letter in open_letters(log, name)]


def delivery_of(wanted: Workspace, log: Log, clock: Clock | None = None) -> Delivery:
    """The delivery of the workspace's webhook over any log."""
    configured = configure(wanted.destinations[NAME])
    select = select_for(wanted, NAME, configured)
    return Delivery(NAME, configured, select, log, clock or SystemClock())


class Rig:
    """A log, a clock and the means to run one delivery over them."""

    def __init__(self, partitions: int = 1) -> None:
        self.clock = ManualClock()
        self.log = MemoryLog(partitions, self.clock)

    def delivery(self, wanted: Workspace, draw: Callable[[], float] = lambda: 0.5) -> Delivery:
        """The delivery of the workspace's webhook; `draw` replaces the jitter."""
        configured = configure(wanted.destinations[NAME])
        select = select_for(wanted, NAME, configured)
        return Delivery(NAME, configured, select, self.log, self.clock, draw=draw, idle_s=IDLE_S)

    @asynccontextmanager
    async def running(
        self, wanted: Workspace, draw: Callable[[], float] = lambda: 0.5
    ) -> AsyncIterator[Delivery]:
        """Run the delivery while the block runs; leaving it is a graceful stop."""
        delivery, stop = self.delivery(wanted, draw), asyncio.Event()
        task = asyncio.create_task(delivery.run(stop))
        try:
            yield delivery
        finally:
            stop.set()
            await task

    async def totals(self) -> Totals:
        """What the log says of the counts."""
        return (await all_totals(self.log)).get(NAME) or Totals(destination=NAME)

    async def until(self, met: Callable[[Totals], bool], advance_s: float = 0.0) -> Totals:
        """Wait until the counts are so; each look moves the clock by `advance_s`."""
        async with asyncio.timeout(20):
            while not met(totals := await self.totals()):
                assert totals.balances(), totals
                self.clock.advance(advance_s)
                await self.log.wait([DESTINATION_TOTALS], IDLE_S)
        assert totals.balances(), totals
        return totals

    async def deliveries(self) -> list[DeliveryRecord]:
        """What became of each batch."""
        tp = TopicPartition(DELIVERIES, 0)
        return [decode_delivery(each.value or b"") async for each in records(self.log, tp)]
