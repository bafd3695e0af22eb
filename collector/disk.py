"""Whether the disk under the log has room; looked up at most once a second, and told at most once a minute."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from headwater.clock import Clock

LOOK_S = 1.0
TELL_S = 60.0

logger = logging.getLogger(__name__)


class Disk:
    """Free bytes below a folder, cached."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._looked = self._told = float("-inf")
        self._free = 0

    def free(self) -> int:
        """Bytes an ordinary process may still write."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK_S:
            found = os.statvfs(self._folder)
            self._free, self._looked = found.f_bavail * found.f_frsize, now
        return self._free

    def tell_full(self, least: int) -> None:
        """Log that clients are sent away for want of room: they see it, the operator would not."""
        now = self._clock.monotonic()
        if now - self._told < TELL_S:
            return
        self._told = now
        logger.error(
            "no events are taken: %d bytes are free at %s, limits.disk_free_bytes is %d; clients are told to retry (503); "
            "free space, or see `headwater doctor`",
            self._free,
            self._folder,
            least,
        )
