"""Holding the loaders still for a moment, so that ClickHouse and the positions in the log are of one instant.

Over the control socket a backup asks for it and stays connected: the loaders wait from the answer until the next line (or
the end of the connection, or `PAUSE_S`), the picture of the tables is kept until the connection ends.

    {"do": "freeze"}   -> {"ok": true, "result": {"clickhouse": "/data/clickhouse/shadow/..." | null}}   loaders stand still
    any line           -> they go on
    end of connection  -> the picture is removed
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger(__name__)

PAUSE_S = 30.0  # a backup that does not go on for this long is not waited for


@dataclass(frozen=True, slots=True)
class Frozen:
    """Loaders that stand still until `go_on`, and the picture of their tables (None without an embedded engine)."""

    picture: Path | None
    go_on: Callable[[], Awaitable[None]]


class Freezable(Protocol):
    """What can hold its loaders still and take a picture of their tables."""

    def frozen(self) -> AbstractAsyncContextManager[Frozen]:
        """Hold still; the picture goes with the end of the block. Raises HeadwaterError, OSError."""
        ...


class NoTables:
    """Nothing to hold still."""

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[Frozen]:
        """Nothing moves."""
        yield Frozen(None, _at_once)


async def _at_once() -> None:
    return


async def freeze(
    tables: Freezable, reader: asyncio.StreamReader, say: Callable[[Any], Awaitable[None]]
) -> None:
    """Serve one backup: hold still until told to go on, keep the picture until the caller is gone."""
    async with tables.frozen() as frozen:
        try:
            await say({"clickhouse": None if frozen.picture is None else str(frozen.picture)})
            async with asyncio.timeout(PAUSE_S):
                await reader.readline()
        except TimeoutError:
            logger.warning("a backup held the loaders for %.0f s and did not go on; they do", PAUSE_S)
        await frozen.go_on()
        await reader.read()  # until the caller is gone
