"""Admission control: how much may be in flight, and how fast one write key may send. No I/O; time is passed in."""

from __future__ import annotations

import math


class Gate:
    """Counts bytes and requests in flight; past its limits nobody new enters, so memory stays flat."""

    __slots__ = ("bytes", "max_bytes", "max_requests", "requests")

    def __init__(self, max_bytes: int, max_requests: int) -> None:
        self.max_bytes, self.max_requests = max_bytes, max_requests
        self.bytes = self.requests = 0

    def enter(self, size: int) -> Ticket | None:
        """Reserve `size` bytes for one request; None (and nothing reserved) where there is no room.

        A request that is alone may exceed the byte limit, or a small limit would refuse it for ever.
        """
        if self.requests >= self.max_requests or (self.requests and self.bytes + size > self.max_bytes):
            return None
        self.bytes += size
        self.requests += 1
        return Ticket(self, size)


class Ticket:
    """What one request inside has reserved."""

    __slots__ = ("_gate", "size")

    def __init__(self, gate: Gate, size: int) -> None:
        self._gate, self.size = gate, size

    def grow(self, size: int) -> bool:
        """Hold at least `size` bytes; False where there is no room for them."""
        more = size - self.size
        if more <= 0:
            return True
        gate = self._gate
        if gate.requests > 1 and gate.bytes + more > gate.max_bytes:
            return False
        gate.bytes += more
        self.size = size
        return True

    def leave(self) -> None:
        """Give it all back."""
        self._gate.bytes -= self.size
        self._gate.requests -= 1


class Bucket:
    """A token bucket of events: `rate` a second, `burst` at once."""

    __slots__ = ("at", "burst", "rate", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, max(burst, 1.0)
        self.tokens, self.at = self.burst, now

    def take(self, events: int, now: float) -> int:
        """Take tokens for `events`: 0 where granted, else the whole seconds to wait (at least 1).

        A batch larger than the burst is granted by a full bucket and leaves a debt, so that it is never refused for ever.
        """
        self._refill(now)
        needed = min(float(events), self.burst)
        if self.tokens >= needed:
            self.tokens -= events
            return 0
        return self._wait(needed)

    def peek(self, now: float) -> int:
        """The seconds to wait before one event could be granted; 0 where it could now. Takes nothing."""
        self._refill(now)
        return 0 if self.tokens >= 1 else self._wait(1.0)

    def _refill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now

    def _wait(self, needed: float) -> int:
        return max(1, math.ceil((needed - self.tokens) / self.rate))
