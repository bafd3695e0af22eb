"""The CPU work of requests in slices, so that the loop comes back to its sockets in time.

Sockets that became readable together are served in one turn of the loop. Judging a large batch takes a millisecond, so under
overload the refusals of a turn, which cost nothing, would wait for all the batches before them. Here bodies that have
arrived wait in line instead, and a turn takes only so much of the line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from headwater.clock import Clock

SLICE_S = 0.0002  # the log's answer takes several turns to reach its clients, and each waits for a slice


class Turns:
    """Work in its order, a slice in each turn. Bounded by what admission lets in."""

    def __init__(self, clock: Clock, *, slice_s: float = SLICE_S) -> None:
        self._clock, self._slice_s = clock, slice_s
        self._line: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def add(self, work: Callable[[], None]) -> None:
        """Do this soon. It must not raise."""
        self._line.append(work)
        self._schedule()

    def finish(self) -> None:
        """Do all of it now."""
        while self._line:
            self._line.popleft()()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        end = self._clock.monotonic() + self._slice_s
        while self._line:
            self._line.popleft()()
            if self._clock.monotonic() >= end:
                break
        if self._line:
            self._schedule()
