"""Whether the disk under the log has room; looked up at most once a second."""

from __future__ import annotations

import os
from pathlib import Path

from headwater.clock import Clock

LOOK_S = 1.0


class Disk:
    """Free bytes below a folder, cached."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._looked = float("-inf")
        self._free = 0

    def free(self) -> int:
        """Bytes an ordinary process may still write."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK_S:
            found = os.statvfs(self._folder)
            self._free, self._looked = found.f_bavail * found.f_frsize, now
        return self._free
