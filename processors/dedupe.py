"""Dedupe. Drops an event whose (source, messageId) was let through before; reason `duplicate`.

The window counts days of *arrival* (`receivedAt`, UTC), never the event's own time: an event is a duplicate when a copy
that arrived on day `d - window_days` or later was let through, where `d` is the day this one arrived. So a late event (a
phone that was offline for a month) and imported history are compared with what arrived around them, and a retry is found
whatever its timestamps say. A duplicate does not prolong the memory of its first copy. The same history imported twice
within the window is dropped here; imported again later it passes, and ClickHouse collapses it, as its sort key is made of
the event's own time and id.

Copies in the same batch and in flight count: what is let through is remembered at once. Only fingerprints are remembered
(80 bits), so two different events are taken for one with a probability of 1e-17 at ten million keys; even then nothing is
lost, as every duplicate is kept whole in `events.dropped`. While dedupe is switched off it drops nothing but goes on
remembering: the memory is always the fold of the outputs, and switching it on again works at once.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from headwater import timestamps
from headwater.event import Drop, Event
from headwater.state.protocol import FINGERPRINT_BYTES, SeenTable
from headwater.workspace.model import Dedupe
from processors.chain import Step

DUPLICATE: Final = "duplicate"
DAY_MS: Final = 86_400_000
PAUSE_DAYS: Final = 31  # longer than any window: a pipeline that stood still, or a clock that leapt

_DAYS_KEPT: Final = 64
_SOURCES_KEPT: Final = 1_024
_DROP: Final = Drop(DUPLICATE)


class _Begun(dict[str, blake2b]):
    """Hashes that have taken in a source's name; copying one is faster than making it, and than md5."""

    def __missing__(self, source_id: str) -> blake2b:
        if len(self) >= _SOURCES_KEPT:
            self.clear()
        begun = self[source_id] = blake2b(_bytes(f"{source_id}\0"), digest_size=FINGERPRINT_BYTES)
        return begun


_begun: Final = _Begun().__getitem__


def fingerprint(source_id: str, message_id: str) -> bytes:
    """What is remembered of an event. NUL cannot occur in a source's name, so no two pairs share a text."""
    state = _begun(source_id).copy()
    state.update(_bytes(message_id))
    return state.digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class _Days(dict[str, int]):
    """Dates as days since 1970, remembered."""

    def __missing__(self, date: str) -> int:
        if len(self) >= _DAYS_KEPT:
            self.clear()
        day = self[date] = max(0, timestamps.parse(date) or 0) // DAY_MS
        return day


_day: Final = _Days().__getitem__


def day_of(received_at: str) -> int:
    """The day of an ISO-8601 UTC timestamp, counted from 1970; 0 where it is none."""
    return _day(received_at[:10])


class Memory:
    """What was let through: the state store's table, and above it what is not written there yet."""

    def __init__(self, seen: SeenTable) -> None:
        self._seen = seen
        self.pending: dict[bytes, int] = {}
        self._days = set(seen.days())  # on which something was let through
        self._since: dict[tuple[int, int], int] = {}

    def admit(self, key: bytes, day: int, window_days: int) -> bool:
        """Whether the key is new within the window; if so it is remembered as seen on `day`."""
        since = self._since.get((day, window_days))
        if since is None:
            since = self._since[day, window_days] = self._first_day(day, window_days)
        found = self.pending.get(key)
        if (found is not None and found >= since) or self._seen.has(key, since):
            return False
        self.remember(key, day)
        return True

    def remember(self, key: bytes, day: int) -> None:
        """Note that the key was let through on `day`; of two days the later one counts."""
        if day not in self._days:
            self._days.add(day)
            self._since.clear()
        if day > self.pending.get(key, -1):
            self.pending[key] = day

    def drain(self) -> dict[bytes, int]:
        """What is not written yet, for the state store; the caller writes it before it asks again."""
        drained, self.pending = self.pending, {}
        return drained

    def _first_day(self, day: int, window_days: int) -> int:
        """Where the window of `day` begins; a pause of more than PAUSE_DAYS in it counts as one day."""
        since = day - window_days
        for before in sorted((known for known in self._days if known < day), reverse=True):
            if day <= since:
                break
            if day - before > PAUSE_DAYS:
                since -= day - before - 1
            day = before
        return since

    def horizon(self, window_days: int, today: int) -> int:
        """The day before which everything may be forgotten.

        It follows what has arrived here, not the calendar, so that a backlog is compared with its own time; yet never
        beyond today, so that one collector's wrong clock cannot empty the memory. One day more is kept than the window
        needs, for collectors whose clocks disagree around midnight.

        Nor is anything forgotten before the window and that day have filled up with days on which something came: where
        the clock of the whole machine leaps ahead, what it leaps over was no time in which a retry could have come.
        """
        days = sorted(day for day in self._days if day <= today)
        newest = min(max(self._days, default=0), today)
        enough = days[max(0, len(days) - window_days - 2)] if days else newest
        return min(self._first_day(newest, window_days) - 1, enough)


def build(config: Dedupe, memory: Memory) -> Step:
    """The step: drop what the memory has, remember the rest."""
    window, admit = config.window_days, memory.admit

    def remember(event: Event) -> Event:
        memory.remember(fingerprint(event.source_id, event.message_id), day_of(event.received_at))
        return event

    def dedupe(event: Event) -> Event | Drop:
        key = fingerprint(event.source_id, event.message_id)
        return event if admit(key, day_of(event.received_at), window) else _DROP

    return dedupe if config.enabled else remember
