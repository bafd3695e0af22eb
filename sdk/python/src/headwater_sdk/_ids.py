"""Message ids: UUIDs of version 7 (RFC 9562), which sort by time and are never given twice.

The first 60 bits are the time in steps of 244 ns and always grow within a process, also when the clock stands still or
goes back. The last 60 bits are random. They are drawn for many ids at once, because a system call for each would
be half of its cost, and thrown away after a fork, so that parent and child cannot give the same one.
"""

from __future__ import annotations

import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NS_PER_MS = 1_000_000
_IDS_PER_DRAW = 256
_SIXTY_BITS = 1 << 60


class Ids:
    """A source of ids; calling it gives the next one as text."""

    def __init__(
        self, time_ns: Callable[[], int] = time.time_ns, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Tests give their own `time_ns` (nanoseconds since 1970) and `random` (so many bytes)."""
        self._time_ns = time_ns
        self._random = random
        self._last = 0
        self.after_fork()

    def after_fork(self) -> None:
        """Forget what the parent has drawn, and its lock: a thread that is not here may have held it at the fork."""
        self._drawn: Iterator[str] = iter(())
        # Re-entrant: a signal handler that calls track() may interrupt this very code in its own thread.
        self._lock = threading.RLock()

    def __call__(self) -> str:
        """Return a new id, greater than each one before it in this process."""
        stamp = (
            self._time_ns() << 12
        ) // _NS_PER_MS  # milliseconds in the upper 48 bits, their 4,096th parts below
        with self._lock:
            if stamp <= self._last:
                stamp = self._last + 1
            self._last = stamp
            chance = next(self._drawn, None) or self._draw()
        digits = hex(
            _SIXTY_BITS | stamp
        )  # 0x1 and fifteen digits; cutting is faster than formatting each part
        return f"{digits[3:11]}-{digits[11:15]}-7{digits[15:]}-8{chance[1:4]}-{chance[4:]}"  # 7: version, 8: variant

    def _draw(self) -> str:
        self._drawn = iter(
            self._random(8 * _IDS_PER_DRAW).hex("-", 8).split("-")
        )  # sixteen digits, one more than needed
        return next(self._drawn)


uuid7 = Ids()

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=uuid7.after_fork)
