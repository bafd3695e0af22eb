"""The time by which retention reckons ages: the wall clock, but a leap ahead must last for a day before it is believed.

A clock that is years ahead for a moment would otherwise make everything that was read old enough to go. The time believed is
noted in the file, so that a process started under the wrong clock does not believe it either; meanwhile it goes on by the
monotonic clock. A pause of the whole installation looks the same: then retention begins a day late, which costs nothing.
"""

from __future__ import annotations

import logging
from typing import cast

from headwater.clock import Clock
from headwater.log.sqlite_sheet import Sheet

LEAP_S = 3 * 86_400  # what a machine that was switched off over a weekend is ahead
PROOF_S = 86_400
NOTE_S = 3600  # how far the time noted may be behind, so that an idle log is not written to

_log = logging.getLogger(__name__)


class AgeClock:
    """The time believed in one file. Asked in the thread that writes it."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock, self._name = clock, name
        self._believed_ms: int | None = None
        self._asked_s = clock.monotonic()
        self._leapt_s: float | None = None  # when the leap that waits for its proof was seen first
        self._noted_ms = 0

    def now_ms(self, sheet: Sheet) -> int:
        """The time believed now; noted in the file from time to time."""
        wall_ms, now_s = self._clock.now_ms(), self._clock.monotonic()
        before_ms = self._remembered(sheet, wall_ms) + int((now_s - self._asked_s) * 1000)
        self._asked_s = now_s
        self._believed_ms = self._judge(wall_ms, before_ms, now_s)
        if abs(self._believed_ms - self._noted_ms) >= NOTE_S * 1000:
            self._noted_ms = self._believed_ms
            sheet.execute(
                "INSERT OR REPLACE INTO settings (name, value) VALUES ('believed_ms', ?)",
                (str(self._noted_ms),),
            )
        return self._believed_ms

    def _remembered(self, sheet: Sheet, wall_ms: int) -> int:
        """What was believed last; by an earlier process where this one was never asked, else the wall clock."""
        if self._believed_ms is not None:
            return self._believed_ms
        rows = sheet.execute("SELECT value FROM settings WHERE name = 'believed_ms'")
        self._noted_ms = int(cast("str", rows[0][0])) if rows else 0
        return self._noted_ms or wall_ms

    def _judge(self, wall_ms: int, before_ms: int, now_s: float) -> int:
        ahead_s = (wall_ms - before_ms) / 1000
        if ahead_s <= LEAP_S:
            self._leapt_s = None
            return wall_ms
        if self._leapt_s is None:
            self._leapt_s = now_s
            _log.error(
                "%s.db: the clock is %.0f days ahead of the time known here: it was set wrong, or nothing ran for so long. "
                "Until it has been so for a day, nothing is removed for its age by that clock; see: timedatectl status",
                *(self._name, ahead_s / 86_400),
            )
        if now_s - self._leapt_s < PROOF_S:
            return before_ms
        self._leapt_s = None
        _log.warning("%s.db: the clock has been ahead for a day and is believed from now on", self._name)
        return wall_ms
