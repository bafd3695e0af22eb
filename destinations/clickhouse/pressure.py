"""What the loader hears of ClickHouse: whether it waits, why, and how much larger inserts should be meanwhile."""

from __future__ import annotations

import threading
from typing import Any

from destinations.clickhouse.engine import EngineError
from destinations.clickhouse.troubles import advice, judge
from headwater.metrics import DESTINATION_PAUSED, SLOWDOWNS

MOST = 32.0  # times the usual wait and rows: with the default settings half a minute


class Pressure:
    """Doubles the size of inserts with each refusal for being busy; halves it with each flush that met none.

    Heard from the threads that insert, read by the event loop.
    """

    def __init__(self, name: str, user: str) -> None:
        self._name, self._user = name, user
        self._lock = threading.Lock()
        self._reason, self._state, self._met = "", "", False
        self.factor = 1.0

    def hear(self, error: EngineError | None) -> str:
        """Take note of a failure, or with None that something passed; the reason as operators read it."""
        with self._lock:
            kind = judge(error.code, str(error)) if error is not None else "data"
            if error is None or kind == "data":
                self._reason = self._state = ""
            else:
                self._reason = _reason(error, self._user)
                self._state = "paused" if kind == "settings" else "waiting"
            if error is not None and kind in ("busy", "size"):
                SLOWDOWNS.labels(self._name, str(error.code)).inc()
            if kind == "busy":
                self.factor, self._met = min(MOST, self.factor * 2), True
            DESTINATION_PAUSED.labels(self._name).set(1 if self._reason else 0)
            return self._reason

    def wait(self, reason: str) -> None:
        """Take note that loading stands still, for a reason of the log's or one that `hear` had no name for."""
        with self._lock:
            if not self._reason:
                self._state, self._reason = "waiting", reason
            DESTINATION_PAUSED.labels(self._name).set(1)

    def ease(self) -> None:
        """A flush begins: back to smaller inserts where the one before met no refusal."""
        with self._lock:
            if not self._met:
                self.factor = max(1.0, self.factor / 2)
            self._met = False

    def status(self) -> dict[str, Any]:
        """State and reason."""
        with self._lock:
            if not self._reason:
                return {"state": "running"}
            return {"state": self._state, "reason": self._reason}


def _reason(error: EngineError, user: str) -> str:
    text = str(error)[:500]
    hint = advice(error.code, text, user)
    return f"{text}; {hint}" if hint else text
