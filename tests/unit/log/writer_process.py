"""A process that appends as fast as it can and prints each record's number once it was acknowledged; to be killed.

python writer_process.py DATA_DIR FIRST CALLERS
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from headwater.clock import SystemClock
from headwater.log.protocol import Entry, Record
from headwater.log.sqlite import SqliteLog
from headwater.log.topics import ACCEPTED
from headwater.paths import DataDir


async def main(folder: str, first: str, callers: str) -> None:
    """Write until killed."""
    numbers = count(int(first))
    async with SqliteLog(DataDir(Path(folder)), SystemClock(), writers=["collector"]) as log:

        async def write() -> None:
            for number in numbers:
                await log.append([Entry(ACCEPTED, 0, Record(b"%d " % number + b"x" * (number % 3000)))])
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()

        await asyncio.gather(*(write() for _ in range(int(callers))))


asyncio.run(main(*sys.argv[1:]))
