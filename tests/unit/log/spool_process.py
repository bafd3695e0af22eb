"""A collector's log whose inner log takes nothing: appends, and prints each number once it was acknowledged; to be killed.

python spool_process.py FOLDER FIRST CALLERS
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from headwater.clock import SystemClock
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Record
from headwater.log.spool import SpooledLog
from headwater.log.spool_folder import Folder
from headwater.log.spool_store import Store
from headwater.log.topics import ACCEPTED


async def main(folder: str, first: str, callers: str) -> None:
    """Write until killed."""
    numbers, clock = count(int(first)), SystemClock()
    inner = MemoryLog(1, clock)
    inner.faults.fail("append", times=10_000_000)
    async with SpooledLog(inner, Store(Folder(Path(folder)), 1 << 30, clock, 1 << 16), clock, 1) as log:

        async def write() -> None:
            for number in numbers:
                await log.append([Entry(ACCEPTED, 0, Record(b"%d " % number + b"x" * (number % 3000)))])
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()

        await asyncio.gather(*(write() for _ in range(int(callers))))


asyncio.run(main(*sys.argv[1:]))
