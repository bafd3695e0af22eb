"""The circuit breaker of one destination, and its pause. Pure: time is an argument (monotonic seconds).

Closed: everything passes. Open: after `threshold` failures in a row nothing is sent for `probe_s`, then one probe; a failed
probe doubles the wait up to `probe_cap_s`. Paused: the other side refuses the settings; one probe every `pause_s`. While
open or paused nothing is read, so the backlog waits in the log and spends no attempts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "paused"]


@dataclass(slots=True)
class Breaker:
    """Decides whether a batch may be sent now."""

    threshold: int = 10
    probe_s: float = 10.0
    probe_cap_s: float = 300.0
    pause_s: float = 300.0
    state: State = "closed"
    reason: str = ""
    failures: int = 0
    probes: int = 0
    until_s: float = 0.0
    probing: bool = False

    def wait_s(self, now_s: float) -> float | None:
        """0 to go ahead, the seconds to the next probe, or None while another batch is probing."""
        if self.state == "closed":
            return 0.0
        if self.probing:
            return None
        return max(0.0, self.until_s - now_s)

    def enter(self) -> bool:
        """Take the pass that `wait_s` promised; True where it is the probe."""
        self.probing = self.state != "closed"
        return self.probing

    def leave(self) -> None:
        """Give a probe back that came to no answer (it was cancelled)."""
        self.probing = False

    def succeeded(self) -> None:
        """An answer that shows the other side works, be it a refusal of one event."""
        self.state, self.reason, self.failures, self.probes, self.probing = "closed", "", 0, 0, False

    def failed(self, now_s: float, reason: str) -> None:
        """An attempt that got no useful answer."""
        self.failures += 1
        if self.state == "closed" and self.failures < self.threshold:
            return
        if self.state == "closed" or self.probing:
            wait = min(self.probe_cap_s, self.probe_s * 2 ** min(self.probes, 16))
            self.state, self.reason, self.until_s = "open", reason, now_s + wait
            self.probes += 1
        self.probing = False

    def misconfigured(self, now_s: float, reason: str) -> None:
        """The other side refuses what was configured: pause until a probe passes or the settings change."""
        self.state, self.reason, self.until_s, self.probing = "paused", reason, now_s + self.pause_s, False
