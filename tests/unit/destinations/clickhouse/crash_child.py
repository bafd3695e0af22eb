"""A loader in a process of its own that dies by SIGKILL at a chosen point; without one it loads all and prints the ids.

Usage: crash_child.py FOLDER POINT, where POINT is `none`, `intent`, `inserted`, `during:SECONDS` or `committed`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from destinations.clickhouse import loader
from destinations.clickhouse.config import Config
from destinations.kit.books import Page
from headwater.clock import SystemClock
from headwater.log import topics
from headwater.log.open import open_log
from headwater.paths import DataDir
from tests.unit.destinations.clickhouse.loading import GROUP, workspace


def die(*_: Any, **__: Any) -> None:
    """As a power switch would have it."""
    os.kill(os.getpid(), signal.SIGKILL)


def plan(made: loader.Loader, point: str) -> None:
    """Put the death where it was ordered."""
    insert = made.insert
    if point == "intent":
        made.insert = die  # type: ignore[method-assign]
    elif point == "inserted":

        def and_die(*args: Any, **options: Any) -> None:
            insert(*args, **options)
            die()

        made.insert = and_die  # type: ignore[method-assign]
    elif point.startswith("during:"):

        def meanwhile(*args: Any, **options: Any) -> None:
            threading.Timer(float(point.partition(":")[2]), die).start()
            insert(*args, **options)
            die()

        made.insert = meanwhile  # type: ignore[method-assign]
    elif point == "committed":
        commit = Page.commit

        async def then_die(*args: Any, **options: Any) -> None:
            await commit(*args, **options)
            die()

        Page.commit = then_die  # type: ignore[method-assign]


async def main(folder: Path, point: str) -> None:
    """Load everything there is."""
    data, live = DataDir(folder).make(), workspace()
    config = Config(min_wait_s=0.01, max_wait_s=0.05)
    engine = loader.open_engine(config, data)
    async with open_log(live.current.log, data, "destinations") as log:
        made = loader.build("warehouse", config, live, log, data, SystemClock(), engine)
        plan(made, point)
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        async with asyncio.timeout(60):
            while not task.done():
                lag = await log.lag(GROUP, [topics.PROCESSED])
                notes = [await log.committed(GROUP, one.tp) for one in lag]
                if not any(one.events for one in lag) and all(note and not note.metadata for note in notes):
                    break
                await log.wait([topics.DESTINATION_TOTALS], 0.05)
        stop.set()
        await task
    rows = engine.query("SELECT message_id FROM headwater.events")
    (totals,) = engine.query("SELECT count(), uniqExact(message_id) FROM headwater.events")
    print(json.dumps({"ids": sorted(row[0] for row in rows), "totals": totals}))
    engine.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
