"""Opening the log that a workspace asks for."""

from __future__ import annotations

from collections.abc import Callable

from headwater.clock import Clock, SystemClock
from headwater.log import moving
from headwater.log.protocol import Log
from headwater.log.retention import DAY_S, Policy, folded_s
from headwater.log.spool import SpooledLog
from headwater.log.spool_folder import Folder
from headwater.log.spool_store import Store
from headwater.log.sqlite import SqliteLog
from headwater.log.topics import Writer
from headwater.paths import DataDir
from headwater.workspace.model import Dedupe, KafkaLogSettings, LogSettings

_DEFAULT_WINDOW = Dedupe().window_days


def open_log(
    settings: LogSettings,
    data: DataDir,
    writer: Writer | None,
    clock: Clock | None = None,
    window_days: Callable[[], int] = lambda: _DEFAULT_WINDOW,
    destinations: Callable[[], frozenset[str] | None] = lambda: None,
) -> Log:
    """The log of `data`, to be opened with `async with`; `writer` is the file this process writes, None to only read.

    `window_days` is the dedupe window in force, asked whenever something is to be removed: what the processors' memory is
    rebuilt from outlives it. `destinations` names those of the workspace in force (None: not known): what only others have
    yet to read is not kept for them. Entering the log raises AlreadyRunning where another process is that writer.
    On Kafka any process may write anything; one that only reads makes no topics, and the collector's has a spool.
    Raises LogError where the log of the folder was carried to Kafka (`headwater.log.moving`).
    """
    if writer is not None:
        moving.check(data, settings, writer)

    def policy() -> Policy:
        return Policy(
            settings.retention_days * DAY_S, settings.retention_bytes, folded_s(window_days()), destinations()
        )

    if isinstance(settings, KafkaLogSettings):
        from headwater.log.kafka import KafkaLog  # aiokafka is slow to import, and one machine needs none

        log = KafkaLog(settings, clock, policy=None if writer is None else policy, process=writer or "")
        if writer != "collector":
            return log
        return spooled(log, settings.spool_bytes, settings.partitions, data, clock or SystemClock())
    return SqliteLog(
        data,
        clock or SystemClock(),
        writers=() if writer is None else (writer,),
        partitions=settings.partitions,
        policy=policy,
    )


def spooled(log: Log, spool_bytes: int, partitions: int, data: DataDir, clock: Clock) -> Log:
    """The collector's log: it goes on acknowledging on this machine's disk while `log` takes nothing.

    `spool_bytes` bounds what waits there; 0 switches it off, but for what an earlier start has left, which is drained.
    """
    folder = Folder(data.spool)
    if spool_bytes <= 0 and not folder.holds_segments() and not moving.held(data):
        return log
    return SpooledLog(log, Store(folder, spool_bytes, clock), clock, partitions, lambda: moving.held(data))
