"""`overflow="spill"` and `durable=True`: the disk as the part of a `Core`'s queue that does not fit in memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable, Optional

from headwater_sdk._core import Batch
from headwater_sdk._log import log
from headwater_sdk._spill import Spill, SpillError

if TYPE_CHECKING:
    from headwater_sdk._spill import Segment

_LOOK_EVERY_S = 60.0  # for events that other processes left when they died
_RETRY_S = 1.0


class SpillDisk:
    """What of a spill directory this process wrote and has not sent yet, and what others left there."""

    def __init__(
        self, spill: Spill, *, durable: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.count = 0
        self._spill = spill
        self._durable = durable
        self._monotonic = monotonic
        self._look_at = float("-inf")
        self._broken_until = float("-inf")
        self._refused = False  # whether the last event could not be written

    def put(self, event: bytes) -> bool:
        """Keep an event; False when the directory is full or the disk refuses."""
        try:
            self._spill.append([event])
        except SpillError as error:
            if not self._refused:  # once, and not for each event of an outage
                log().warning("%s", error)
            self._refused = True
            return False
        self._refused = False
        self.count += 1
        return True

    def wants(self) -> bool:
        """Always when durable; else once older events wait here, so that the order is kept."""
        return self._durable or self.count > 0

    def pending(self) -> bool:
        """Whether to look for events: our own wait here, or others may have left some."""
        now = self._monotonic()
        return now >= self._broken_until and (self.count > 0 or now >= self._look_at)

    def take(self) -> Optional[Batch]:
        """Return the events of the oldest free segment."""
        try:
            segment = self._spill.claim()
        except SpillError as error:
            log().warning("%s", error)
            self._broken_until = self._monotonic() + _RETRY_S
            return None
        if segment is None:  # what we counted, other processes have taken over
            self.count = 0
            self._look_at = self._monotonic() + _LOOK_EVERY_S
            return None
        if segment.damaged:
            log().warning("%s damaged records in %s are lost", segment.damaged, self._spill.directory)
        self.count -= min(self.count, len(segment.events))
        return Batch(segment.events, SegmentClaim(segment))

    def close(self) -> None:
        """Leave what waits to other processes or the next start."""
        self.count = 0
        self._look_at = float("-inf")
        self._spill.close()


class SegmentClaim:
    """Deletes the segment once all of its events are settled."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._left = len(segment.events)
        if not self._left:
            self.settled(0)

    def settled(self, count: int) -> None:
        """Note that so many events are delivered, rejected or dropped."""
        self._left -= count
        if self._left <= 0:
            self._end(self._segment.done)

    def release(self) -> None:
        """Give back the segment; what of it was delivered is sent again, and dropped as a repetition by the server."""
        if self._left > 0:
            self._left = 0
            self._end(self._segment.release)

    def _end(self, how: Callable[[], None]) -> None:
        try:
            how()
        except SpillError as error:
            log().warning("%s", error)
