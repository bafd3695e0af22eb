"""Message ids: UUIDs of version 7 (RFC 9562), which sort by time and are never given twice.

The first 60 bits are the time in steps of 244 ns and always grow within a process, also when the clock stands still or
goes back. 52 random bits follow, and a count. Ids of the same millisecond share time and chance, as making both as text
would be a tenth of a call: up to 64 of them are a block, in which only the count grows.

The random bits are drawn for many blocks at once, because a system call for each would be half of its cost. They and the
block are thrown away after a fork, so that parent and child cannot give the same id.
"""

from __future__ import annotations

import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NS_PER_MS = 1_000_000
_BLOCKS_PER_DRAW = 256
_SIXTY_BITS = 1 << 60
_COUNTS = bytes(range(63, -1, -1)).hex("-", 1).split("-")  # "3f" to "00": the last one is taken first


class Ids:
    """A source of ids; `new` gives the next one as text."""

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
        # Until when the block holds, what its ids begin with, what else they end with. One tuple, so that threads, which
        # take ids without the lock, cannot mix two blocks; a list's pop() gives no count twice.
        self._block: tuple[int, str, list[str]] = (0, "", [])
        # Re-entrant: a signal handler that calls track() may interrupt this very code in its own thread.
        self._lock = threading.RLock()

    def new(self) -> str:
        """Return a new id, greater than each one that this thread was given before, and never given twice."""
        now = self._time_ns()
        until, head, counts = self._block
        if now < until:  # also when the clock went back
            try:
                return head + counts.pop()
            except IndexError:  # 64 in a millisecond
                pass
        return self._begin(now)

    def _begin(self, now: int) -> str:
        """Begin a block; return its first id."""
        with self._lock:
            stamp = (now << 12) // _NS_PER_MS  # milliseconds in the upper 48 bits, their 4,096th parts below
            if stamp <= self._last:
                stamp = self._last + 1
            self._last = stamp
            chance = next(self._drawn, None) or self._draw()
            digits = hex(
                _SIXTY_BITS | stamp
            )  # 0x1 and fifteen digits; cutting is faster than formatting each part
            head = f"{digits[3:11]}-{digits[11:15]}-7{digits[15:]}-8{chance[1:4]}-{chance[4:14]}"  # 7: version, 8: variant
            counts = _COUNTS.copy()
            first = head + counts.pop()
            if stamp == self._last:  # else a signal handler has begun a later one
                self._block = ((stamp >> 12) + 1) * _NS_PER_MS, head, counts
            return first

    def _draw(self) -> str:
        # Sixteen digits for each block, three more than needed.
        self._drawn = iter(self._random(8 * _BLOCKS_PER_DRAW).hex("-", 8).split("-"))
        return next(self._drawn)


_ids = Ids()
uuid7 = _ids.new

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_ids.after_fork)
