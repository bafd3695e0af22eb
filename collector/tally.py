"""Counts of the hot path, gathered in plain dicts and handed to the metrics once a second.

One increment of a shared, memory-mapped counter costs as much as accepting an event.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from collector.items import Rejected
from headwater import metrics

EVERY_S = 1.0
SAMPLE = 8  # one request in so many is timed


class Tally:
    """Counts until the next flush."""

    def __init__(self) -> None:
        self._accepted: Counter[tuple[str, str]] = Counter()
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: list[tuple[str, float]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self.inflight_bytes = 0

    def accepted(self, source: str, types: list[str]) -> None:
        """Events the log has, by their types."""
        counts = self._accepted
        if len(types) == 1:
            counts[source, types[0]] += 1
        else:
            for kind, number in Counter(types).items():
                counts[source, kind] += number

    def rejected(self, source: str, rejected: Iterable[Rejected]) -> None:
        """Events refused one by one."""
        for one in rejected:
            self._rejected[source, one.code] += 1

    def refused(self, source: str, code: str, events: int = 1) -> None:
        """Events refused together."""
        self._rejected[source, code] += events

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request answered."""
        self._requests[route, status] += 1
        self._turn += 1
        if self._turn % SAMPLE == 0:
            self._seconds.append((route, seconds))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self.flush)

    def flush(self) -> None:
        """Hand everything to the metrics."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for (source, kind), number in self._accepted.items():
            metrics.ACCEPTED_EVENTS.labels(source, kind).inc(number)
        for (source, code), number in self._rejected.items():
            metrics.REJECTED_EVENTS.labels(source, code).inc(number)
        for (route, status), number in self._requests.items():
            metrics.REQUESTS.labels(route, str(status)).inc(number)
        for route, seconds in self._seconds:
            metrics.REQUEST_SECONDS.labels(route).observe(seconds)
        metrics.INFLIGHT_BYTES.set(self.inflight_bytes)
        for counts in (self._accepted, self._rejected, self._requests):
            counts.clear()
        self._seconds.clear()
