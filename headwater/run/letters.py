"""Decisions about dead letters, carried out by whoever may write them: the running destinations, or this process."""

from __future__ import annotations

from collections.abc import Sequence

from destinations.kit import dlq
from destinations.kit.books import Books
from headwater.clock import SystemClock
from headwater.log.open import open_log
from headwater.paths import DataDir
from headwater.workspace.model import LogSettings


async def resolve(
    data: DataDir, settings: LogSettings, action: str, name: str, ids: Sequence[int] | None
) -> dlq.Resolution:
    """Retry or discard letters (None: all of them). Raises AlreadyRunning, LogError."""
    clock = SystemClock()
    decide = {"retry": dlq.retry, "discard": dlq.discard}[action]
    async with open_log(settings, data, "destinations") as log:
        return await decide(log, await Books.load(log, name), clock, ids)
