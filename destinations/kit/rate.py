"""A token bucket for requests, which the other side can hold shut (429). Pure: time is an argument (monotonic seconds)."""

from __future__ import annotations

from headwater.plugin import Rate


class Bucket:
    """At most `rate.requests` in each `rate.per_s` seconds, up to that many at once; unlimited without a rate."""

    def __init__(self, rate: Rate | None, now_s: float) -> None:
        self._rate = rate
        self._tokens = float(rate.requests) if rate else 0.0
        self._filled_s = now_s
        self._held_until_s = 0.0

    def take(self, now_s: float) -> float:
        """Take one request's worth: 0.0 when it may go now, else how many seconds to wait before asking again."""
        if now_s < self._held_until_s:
            return self._held_until_s - now_s
        if self._rate is None:
            return 0.0
        speed = self._rate.requests / self._rate.per_s
        self._tokens = min(
            float(self._rate.requests), self._tokens + max(0.0, now_s - self._filled_s) * speed
        )
        self._filled_s = now_s
        if self._tokens + 1e-9 >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / speed

    def hold(self, now_s: float, seconds: float) -> None:
        """Let nothing through for this long: the other side asked the whole connection to slow down."""
        self._held_until_s = max(self._held_until_s, now_s + seconds)
