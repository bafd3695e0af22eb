"""The decisions of delivery: what waits, what goes into the next request, when, and what an answer means for it.

No I/O, no threads, no clock of its own: `_pipeline` (threads, synchronous) and `_async` (asyncio) drive it, and the contract
cases run it in virtual time. Whoever drives it holds the lock.
"""

from __future__ import annotations

from collections import deque

from headwater_sdk._answers import fate, refusal, rejections, wait_after
from headwater_sdk._record import NamedTuple
from headwater_sdk._report import Ledger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from headwater_sdk._answers import Answer
    from headwater_sdk._shell import Claim, Disk


GROW_AFTER = 2  # requests: after a fault that only looked like a slow network, full ones are soon back
GROW_AFTER_AT_MOST = 10  # requests, where the network is slow: one that is too large costs its whole timeout
MOST_EVENT_BYTES = 32_768
MOST_REQUEST_BYTES = 475_000
_DISK_RETRY_S = 1.0  # while it refuses to give what waits there
_SPILL_FAILED = "the spill directory is full or not writable; raise spill_max_bytes or free the disk"


class Limits(NamedTuple):
    """How much waits, how much goes into a request, how long a batch is tried."""

    upload_size: int = 100
    upload_interval: float = 0.5
    max_queue_size: int = 10_000
    max_queue_bytes: int = 32 << 20
    overflow: str = "drop_oldest"
    max_retries: int = 10


class Batch:
    """Events of one request. It stays the same at every attempt, unless it is too much for one."""

    __slots__ = ("attempts", "claim", "counted", "events")

    def __init__(self, events: list[bytes], claim: Optional[Claim] = None, counted: int = 0) -> None:
        self.events = events
        self.claim = claim
        self.attempts = 0  # failed ones, as X-Retry-Count says
        self.counted = counted  # failed ones that are evidence against the batch

    def halves(self) -> tuple[Batch, Batch]:
        """Split in order, the first half the larger."""
        middle = (len(self.events) + 1) // 2
        return Batch(self.events[:middle], self.claim), Batch(self.events[middle:], self.claim)


class Pace:
    """How many events the network carries in a request: all that are allowed, until a request shows that it is too slow.

    What was halved for that doubles again after two full requests that got through; where the double is too much at once,
    after four, and so on up to ten.
    """

    __slots__ = ("_allowed", "_grow_after", "_grown", "_through", "most")

    def __init__(self, allowed: int) -> None:
        self._allowed = self.most = allowed
        self._grow_after, self._grown, self._through = GROW_AFTER, False, 0

    def too_much(self, events: int) -> None:
        """Note that a request of so many events may have been too much; of one event it says nothing about more."""
        if events > 1:
            if self._grown:
                self._grow_after = min(2 * self._grow_after, GROW_AFTER_AT_MOST)
            self.most, self._grown, self._through = (events + 1) // 2, False, 0

    def through(self, events: int) -> None:
        """Note that a request of so many events was answered."""
        if events < self.most:
            return
        if self._grown:
            self._grow_after, self._grown = GROW_AFTER, False
        self._through += 1
        if self.most < self._allowed and self._through >= self._grow_after:
            self.most, self._grown, self._through = min(2 * self.most, self._allowed), True, 0


class Core:
    """The queue and the batches on their way. `accepted` and `settled` only grow; the difference waits."""

    def __init__(
        self,
        limits: Limits,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[], float],
        disk: Optional[Disk] = None,
    ) -> None:
        self.limits = limits
        self._most_events, self._most_bytes = (
            limits.max_queue_size,
            limits.max_queue_bytes,
        )  # read at every call
        self.pace = Pace(limits.upload_size)
        self.ledger = Ledger()
        self.disk = disk
        self.accepted = self.settled = 0
        self._monotonic, self._wall, self._random = monotonic, wall, random
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._ahead: deque[Batch] = deque()  # go before the queue: to be retried, halves
        self._under_way: Optional[Batch] = None
        self._since = 0.0  # when the oldest event of the queue began to wait
        self._not_before = 0.0

    # --- in ---------------------------------------------------------------------------------------------------------

    def offer(self, event: bytes) -> Optional[bool]:
        """Queue an event: True, or False when it was dropped, or None when the caller shall wait for room."""
        size = len(event)
        if size > MOST_EVENT_BYTES:
            self.ledger.reject(
                event, "event_too_large", f"{size:,} bytes; an event has at most {MOST_EVENT_BYTES:,}"
            )
            return False
        if self.disk is not None and (self.disk.wants() or not self._fits(size)):
            if self._to_disk(event):
                return True
            if not self._fits(size):
                self.ledger.drop(event, "spill_failed", _SPILL_FAILED)
                return False
        elif len(self._queue) >= self._most_events or self._queue_bytes + size > self._most_bytes:
            made = self._make_room(event)
            if not made:
                return made
        queue = self._queue
        if not queue:
            self._since = self._monotonic()
        queue.append(event)
        self._queue_bytes += size
        self.accepted += 1
        return True

    def _fits(self, size: int) -> bool:
        return len(self._queue) < self._most_events and self._queue_bytes + size <= self._most_bytes

    def _make_room(self, event: bytes) -> Optional[bool]:
        too_large = len(event) > self.limits.max_queue_bytes
        if self.limits.overflow == "block" and not too_large:
            return None
        if self.limits.overflow == "drop_newest" or too_large:
            self.refuse(event)
            return False
        while self._queue and not self._fits(len(event)):
            self.settled += 1
            self.ledger.drop(self._pop(), "queue_full", self._full())
        return True

    def refuse(self, event: bytes) -> None:
        """Drop an event for which there is no room."""
        self.ledger.drop(event, "queue_full", self._full())

    def _full(self) -> str:
        limits = self.limits
        return (
            f"the queue holds at most {limits.max_queue_size:,} events and {limits.max_queue_bytes:,} bytes; "
            "flush more often, raise max_queue_size, or set overflow"
        )

    def _to_disk(self, event: bytes) -> bool:
        if self.disk is None:
            return False
        first = not self._queue and not self.disk.count
        if not self.disk.put(event):
            return False
        if first:
            self._since = self._monotonic()
        self.accepted += 1
        return True

    # --- out --------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many events are accepted and not settled."""
        return self.accepted - self.settled

    def idle(self) -> bool:
        """Whether nothing waits, on the disk neither."""
        return self.waiting <= 0 and (self.disk is None or not self.disk.pending())

    def due(self, urgent: bool = False) -> Optional[float]:
        """Return seconds until the next request shall go, 0 for now, None while there is nothing to send."""
        if self._under_way is not None:
            return None
        queued = len(self._queue) + (self.disk.count if self.disk is not None else 0)
        if not (self._ahead or self._queue or (self.disk is not None and self.disk.pending())):
            return _DISK_RETRY_S if self.disk is not None and self.disk.count else None
        at = self._not_before
        full = queued >= self.pace.most or self._queue_bytes >= MOST_REQUEST_BYTES
        if not (urgent or self._ahead or full):
            at = max(at, self._since + self.limits.upload_interval)
        return max(0.0, at - self._monotonic())

    def take(self) -> Optional[Batch]:
        """Return the batch that goes now; `settle` or `restore` must follow."""
        if not self._ahead:
            self._fill()
        if not self._ahead:
            return None
        batch = self._ahead.popleft()
        if len(batch.events) > self.pace.most:
            batch, *others = within_limits(batch, self.pace.most)
            self._ahead.extendleft(reversed(others))
        self._under_way = batch
        return batch

    def _fill(self) -> None:
        if self._queue:
            self._ahead.append(Batch(self._next_events()))
            self._since = self._monotonic()
        elif self.disk is not None:
            self._from_disk(self.disk)

    def _from_disk(self, disk: Disk) -> None:
        while not self._ahead:  # a segment of which nothing can be read must not end the look for others
            mine = disk.count
            found = disk.take()
            if found is None:
                self.settled += mine - disk.count  # another process has taken them over
                return
            self.accepted += len(found.events) - (mine - disk.count)  # a dead process's join ours
            self._ahead.extend(within_limits(found, self.pace.most))

    def _pop(self) -> bytes:
        event = self._queue.popleft()
        self._queue_bytes -= len(event)
        return event

    def _next_events(self) -> list[bytes]:
        events: list[bytes] = []
        size = 0
        while self._queue and len(events) < self.pace.most:
            size += len(self._queue[0]) + 1  # and a comma
            if size > MOST_REQUEST_BYTES and events:
                break
            events.append(self._pop())
        return events

    # --- answers ----------------------------------------------------------------------------------------------------

    def restore(self, batch: Batch) -> None:
        """Put back a batch whose request was interrupted; it was no attempt."""
        if batch is self._under_way:
            self._under_way = None
            self._ahead.appendleft(batch)

    def interrupted(self) -> None:
        """Put back what is under way: whoever sent it is gone."""
        if self._under_way is not None:
            self.restore(self._under_way)

    def settle(self, batch: Batch, answer: Answer) -> str:
        """Take note of the answer; returns the batch's fate, `late` when it was given up meanwhile."""
        if batch is not self._under_way:
            return "late"
        self._under_way = None
        self._not_before = 0.0
        what = fate(answer.status)
        if what == "delivered":
            self._delivered(batch, answer)
        elif what == "split":
            self._split(batch, answer)
        elif what == "poison":
            code, message = refusal(answer)
            self._reject(batch, code, message, answer.status)
        else:
            self._again(batch, answer, counted=what == "counted")
        return what

    def _delivered(self, batch: Batch, answer: Answer) -> None:
        bad = rejections(answer, len(batch.events))
        for index, (code, message) in sorted(bad.items()):
            self.ledger.reject(batch.events[index], code, message, answer.status)
        self.ledger.delivered([event for index, event in enumerate(batch.events) if index not in bad])
        self.pace.through(len(batch.events))
        self._done(batch)

    def _split(self, batch: Batch, answer: Answer) -> None:
        if len(batch.events) == 1:
            self._reject(batch, "event_too_large", "the server refuses its size", answer.status)
        else:
            self._ahead.extendleft(reversed(batch.halves()))

    def _again(self, batch: Batch, answer: Answer, counted: bool) -> None:
        batch.attempts += 1
        batch.counted += counted
        if batch.counted > self.limits.max_retries:
            said = f"the last of {batch.attempts} attempts was answered with HTTP {answer.status}"
            for event in batch.events:
                self.ledger.drop(event, "retries_exhausted", said, answer.status)
            self._done(batch)
            return
        if answer.too_much:
            self.pace.too_much(len(batch.events))
        wait = wait_after(answer, batch.attempts, self._random, self._wall())
        self._not_before = self._monotonic() + wait
        self._ahead.appendleft(batch)

    def _reject(self, batch: Batch, code: str, message: str, status: int) -> None:
        for event in batch.events:
            self.ledger.reject(event, code, message, status)
        self._done(batch)

    def _done(self, batch: Batch) -> None:
        self.settled += len(batch.events)
        if batch.claim is not None:
            batch.claim.settled(len(batch.events))

    # --- the end ----------------------------------------------------------------------------------------------------

    def give_up(self) -> int:
        """Nothing more will be sent: what waits goes to the disk where there is one, else it is dropped and reported.

        Returns how many events wait on the disk for the next start.
        """
        batches = (
            [] if self._under_way is None else [self._under_way]
        )  # its answer, should it come, is too late
        batches.extend(self._ahead)
        batches.append(Batch(list(self._queue)))
        self._under_way = None
        self._ahead.clear()
        self._queue.clear()
        self._queue_bytes = 0
        left = sum(self._leave(batch) for batch in batches)
        if self.disk is not None:
            left += self.disk.count
            self.disk.close()
        self.settled = self.accepted
        return left

    def _leave(self, batch: Batch) -> int:
        if batch.claim is not None:
            batch.claim.release()
            return len(batch.events)
        for event in batch.events:
            if self.disk is None:
                why = "the client was closed before the server answered for the event"
                self.ledger.drop(event, "closed", why)
            elif not self.disk.put(event):
                self.ledger.drop(event, "spill_failed", _SPILL_FAILED)
        return 0


def within_limits(batch: Batch, most: int) -> list[Batch]:
    """Split a batch of any size into batches that a request may carry, in order; the first one goes on with its attempts."""
    parts: list[list[bytes]] = []
    size = 0
    for event in batch.events:
        if not parts or len(parts[-1]) == most or size + len(event) + 1 > MOST_REQUEST_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(event)
        size += len(event) + 1
    batches = [Batch(part, batch.claim, counted=batch.counted) for part in parts]
    if batches:
        batches[0].attempts = batch.attempts
    return batches
