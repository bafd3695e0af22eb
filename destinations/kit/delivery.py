"""The delivery of one destination in one process: lanes over its share of the partitions, run until told to stop.

Rate, concurrency and circuit breaker are of this process alone; the log knows nothing of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from destinations.kit.batch import Unit
from destinations.kit.books import Books, Page
from destinations.kit.gate import Gate
from destinations.kit.http import HttpClient
from destinations.kit.lane import Lane, Surroundings
from destinations.kit.redact import Redactor, secrets_of
from destinations.kit.registry import Configured
from destinations.kit.select import Selection
from destinations.kit.send import Sender
from destinations.kit.settle import Settled, Terms, settle
from destinations.kit.share import Share
from destinations.kit.source import ProcessedSource, TierSource
from headwater.clock import Clock
from headwater.errors import LogError
from headwater.log.protocol import Log, TopicPartition
from headwater.log.topics import DESTINATION_GROUP_PREFIX, PROCESSED, RETRY_PREFIX
from headwater.metrics import (
    DEAD_EVENTS,
    DELIVERED_EVENTS,
    DESTINATION_LAG,
    FILTERED_EVENTS,
    RETRIED_EVENTS,
)

logger = logging.getLogger(__name__)

IDLE_S = 30.0
OBSERVE_S = 10.0
GRACE_S = 5.0  # beyond one request's timeout, for what is under way at a stop


class Delivery:
    """Delivers to one HTTP destination. Made anew for every change of its settings; run once."""

    def __init__(
        self,
        name: str,
        configured: Configured,
        select: Selection,
        log: Log,
        clock: Clock,
        *,
        client: HttpClient | None = None,
        draw: Callable[[], float] = random.random,
        idle_s: float = IDLE_S,
    ) -> None:
        self.name, self.configured = name, configured
        self.group = DESTINATION_GROUP_PREFIX + name
        self._redactor = Redactor(secrets_of(configured.config))
        self.gate = Gate(name, configured.policy, clock, idle_s, self._redactor)
        self._select, self._log, self._clock = select, log, clock
        self._client = client or HttpClient(configured.policy.concurrency, configured.policy.timeout_s)
        self._sender = Sender(name, configured, self._client, self.gate, clock)
        self._draw = draw
        self._around = Surroundings(
            log=log,
            clock=clock,
            batching=configured.policy.batching,
            places=asyncio.Semaphore(configured.policy.concurrency),
            work=self._work,
            idle_s=idle_s,
        )
        topics = (PROCESSED, RETRY_PREFIX + name)
        self.share = Share(Books.of(log, name), log, topics, self._lane, self._grace)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, finish what is under way, close. Raises what the log raises."""
        async with self._client:
            observing = asyncio.create_task(self._observe())
            try:
                await self.share.run(stop)
            finally:
                observing.cancel()
                await asyncio.gather(observing, return_exceptions=True)

    def _grace(self) -> float:
        """How long to wait for what is under way; a receiver that takes nothing is not waited for."""
        return self.configured.policy.timeout_s + GRACE_S if self.gate.breaker.state == "closed" else 0.1

    def _lane(self, page: Page) -> Lane:
        """The lane of a partition that came to this process."""
        tp = page.tp
        source = ProcessedSource(self._select) if tp.topic == PROCESSED else TierSource(tp.partition)
        return Lane(page, source, self._around)

    async def _work(self, tp: TopicPartition, unit: Unit) -> Settled:
        items = unit.items
        results = await self._sender.send(items) if items else []
        terms = Terms(
            self.name, tp, self.configured.policy.retry, self._redactor, self._clock.now_ms(), self._draw
        )
        settled = settle(unit, results, terms)
        self._count(settled)
        return settled

    def _count(self, settled: Settled) -> None:
        change = settled.change
        if change.delivered:
            DELIVERED_EVENTS.labels(self.name).inc(change.delivered)
        for reason, count in change.filtered.items():
            FILTERED_EVENTS.labels(self.name, reason).inc(count)
        for code, count in settled.dead.items():
            DEAD_EVENTS.labels(self.name, code).inc(count)
        if settled.retried:
            RETRIED_EVENTS.labels(self.name).inc(settled.retried)

    async def _observe(self) -> None:
        while True:
            try:
                lags = await self._log.lag(self.group, [PROCESSED])
            except (
                LogError
            ) as error:  # the lanes tell the world; the gauge must not stand still for ever after
                logger.warning("destination %s: its lag cannot be measured: %s", self.name, error)
            else:
                DESTINATION_LAG.labels(self.name).set(sum(lag.events for lag in lags))
            await asyncio.sleep(OBSERVE_S)

    def status(self) -> dict[str, Any]:
        """What operators ask: state, why, and when the next probe goes."""
        breaker = self.gate.breaker
        state = {"closed": "running"}.get(breaker.state, breaker.state)
        found: dict[str, Any] = {"destination": self.name, "state": state}
        if breaker.state != "closed":
            wait = max(0.0, breaker.until_s - self._clock.monotonic())
            found |= {"reason": breaker.reason, "nextProbeSeconds": round(wait, 1)}
        return found
