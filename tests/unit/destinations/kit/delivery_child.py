"""A destinations process to be killed: `delivery_child.py FOLDER URL`. Ends by itself when everything is settled."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from destinations.kit.books import all_totals
from destinations.kit.delivery import Delivery
from destinations.kit.registry import configure, select_for
from headwater.clock import SystemClock
from headwater.log.open import open_log
from headwater.log.protocol import TopicPartition
from headwater.log.topics import PROCESSED
from headwater.paths import DataDir
from tests.support.delivering import NAME, workspace

RULES = {
    "batch": {"max_events": 7, "max_wait_s": 0},
    "concurrency": 3,
    "retry": {"base_s": 0.2},
    "breaker": {"failures": 1000},
}


async def main(folder: Path, url: str) -> None:
    """Deliver until every event is delivered or dead."""
    wanted, stop = workspace(url, delivery=RULES), asyncio.Event()
    async with open_log(wanted.log, DataDir(folder), "destinations") as log:
        configured = configure(wanted.destinations[NAME])
        select = select_for(wanted, NAME, configured)
        task = asyncio.create_task(
            Delivery(NAME, configured, select, log, SystemClock(), idle_s=0.1).run(stop)
        )
        end = sum(lag.events for lag in await log.lag("nobody", [PROCESSED]))
        assert end or (await log.bounds(TopicPartition(PROCESSED, 0))).end
        while not task.done():
            totals = (await all_totals(log)).get(NAME)
            if totals is not None and totals.read == end and totals.retrying == 0:
                stop.set()
                break
            await log.wait(["totals.destinations"], 0.1)
        await task


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
