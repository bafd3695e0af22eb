"""What every request of a destination passes: circuit breaker, rate, concurrency."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from destinations.kit.breaker import Breaker
from destinations.kit.rate import Bucket
from destinations.kit.redact import Redactor
from destinations.kit.settings import Policy
from headwater.clock import Clock
from headwater.metrics import DESTINATION_PAUSED
from headwater.plugin import Misconfigured, Outcome, Retry

logger = logging.getLogger(__name__)

THROTTLED_S = 1.0  # how long the whole destination slows down after a 429 that names no time


@dataclass(slots=True)
class Pass:
    """A batch's permission to send; `probe` where it alone tests a destination that failed."""

    probe: bool = False


class Gate:
    """Lets batches and requests through one by one, and learns from every answer."""

    def __init__(self, name: str, policy: Policy, clock: Clock, idle_s: float, redactor: Redactor) -> None:
        rules = policy.breaker
        self.breaker = Breaker(rules.failures, rules.probe_s, rules.probe_cap_s, rules.pause_s)
        self._name, self._clock, self._idle_s, self._redactor = name, clock, idle_s, redactor
        self._bucket = Bucket(policy.rate, clock.monotonic())
        self._slots = asyncio.Semaphore(policy.concurrency)
        self._changed = asyncio.Event()
        DESTINATION_PAUSED.labels(name).set(0)

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Pass]:
        """Wait until a batch may go: the circuit is closed, or this batch is its probe."""
        while (wait := self.breaker.wait_s(self._clock.monotonic())) != 0:
            await self._sleep(self._idle_s if wait is None else wait)
        granted = Pass(self.breaker.enter())
        try:
            yield granted
        finally:
            if granted.probe and self.breaker.probing:
                self.breaker.leave()
                self._tell()

    @asynccontextmanager
    async def request(self, granted: Pass) -> AsyncIterator[bool]:
        """Wait for a slot and for the rate; False where the circuit has opened meanwhile: do not send."""
        async with self._slots:
            while self._admits(granted) and (wait := self._bucket.take(self._clock.monotonic())) > 0:
                await self._sleep(wait)
            yield self._admits(granted)

    def _admits(self, granted: Pass) -> bool:
        return self.breaker.state == "closed" or (granted.probe and self.breaker.probing)

    def heard(self, outcome: Outcome, status: int) -> None:
        """Learn from the outcome of one request (`status` 0 where there was no answer)."""
        now, before = self._clock.monotonic(), self.breaker.state
        if isinstance(outcome, Misconfigured):
            self.breaker.misconfigured(now, self._redactor.text(f"{outcome.field}: {outcome.detail}"))
        elif isinstance(outcome, Retry) and status != 429:
            self.breaker.failed(now, self._redactor.text(outcome.reason))
        else:
            self.breaker.succeeded()
        if isinstance(outcome, Retry) and (status == 429 or outcome.after_s):
            self._bucket.hold(now, THROTTLED_S if outcome.after_s is None else outcome.after_s)
        if self.breaker.state != before:
            self._report()
        self._tell()

    def _report(self) -> None:
        closed = self.breaker.state == "closed"
        DESTINATION_PAUSED.labels(self._name).set(0 if closed else 1)
        if closed:
            logger.info("destination %s works again", self._name)
        else:
            logger.warning("destination %s is %s: %s", self._name, self.breaker.state, self.breaker.reason)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _sleep(self, seconds: float) -> None:
        """Until something changed, or a while has passed (never longer than asked: the caller looks at the clock)."""
        changed = self._changed
        try:
            async with asyncio.timeout(min(seconds, self._idle_s)):
                await changed.wait()
        except TimeoutError:
            return
