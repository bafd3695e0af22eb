"""Children that outlived a killed supervisor: they leave by themselves within seconds; a hanging one is ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time

from headwater.errors import AlreadyRunning
from headwater.log.lock import FileLock
from headwater.paths import DataDir
from headwater.run import files
from headwater.run.settings import STAGES, Stage

logger = logging.getLogger(__name__)

WAIT_S = 8.0  # longer than child.ORPHAN_S, after which an orphan ends itself
KILL_S = 2.0
CLOSING_S = 1.0  # a process that ends lets its two locks go one after the other


def wait_for_orphans(data: DataDir) -> None:
    """Return when no stage runs on the folder. Raises AlreadyRunning for one that is not ours to end."""
    for stage in STAGES:
        path = files.stage_lock(data, stage)
        if not files.is_held(path):
            continue
        holder = files.holder_of(path)
        if not holder.supervisor:
            raise AlreadyRunning(
                f"a `headwater {stage}` runs on {data.root} with pid {holder.pid}; stop it before `headwater up`",
                holder.pid,
            )
        _wait_for(data, stage, holder.pid)
    for stage in STAGES:
        _refuse_a_writer(data, stage)


def _refuse_a_writer(data: DataDir, stage: Stage) -> None:
    """Raise AlreadyRunning where a stage writes the log though run/ knows nothing of it: run/ was deleted meanwhile."""
    lock = FileLock(data.log / f"{stage}.lock", stage)
    give_up = time.monotonic() + CLOSING_S
    while True:
        try:
            lock.acquire()
        except AlreadyRunning:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
        else:
            lock.release()
            return


def _wait_for(data: DataDir, stage: Stage, pid: int) -> None:
    path = files.stage_lock(data, stage)
    logger.info("waiting for the %s (pid %d) of a supervisor that is gone", stage, pid)
    if _freed(data, stage, WAIT_S):
        return
    logger.warning("the %s (pid %d) hangs; killing it", stage, pid)
    if files.is_held(path) and files.holder_of(path).pid == pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not _freed(data, stage, KILL_S):
        raise AlreadyRunning(
            f"the {stage} (pid {pid}) of an earlier `headwater up` cannot be ended; see `ps {pid}`", pid
        )


def _freed(data: DataDir, stage: Stage, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while files.is_held(files.stage_lock(data, stage)):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True
