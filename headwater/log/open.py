"""Opening the log that a workspace asks for."""

from __future__ import annotations

from headwater.clock import Clock, SystemClock
from headwater.log.protocol import Log
from headwater.log.retention import DAY_S, Policy
from headwater.log.sqlite import SqliteLog
from headwater.log.topics import Writer
from headwater.paths import DataDir
from headwater.workspace.model import LogSettings


def open_log(settings: LogSettings, data: DataDir, writer: Writer | None, clock: Clock | None = None) -> Log:
    """The log of `data`, to be opened with `async with`; `writer` is the file this process writes, None to only read.

    Entering it raises AlreadyRunning where another process is that writer.
    """
    return SqliteLog(
        data,
        clock or SystemClock(),
        writers=() if writer is None else (writer,),
        partitions=settings.partitions,
        policy=Policy(settings.retention_days * DAY_S, settings.retention_bytes),
    )
