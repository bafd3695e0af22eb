"""The folder of a cluster as another process sees it: end what runs there, remove what it kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.dev.kafka import process, record
from headwater.run import files

STOP_S = (
    15.0  # three brokers that leave together wait for each other; what they acknowledged is on disk by then
)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One start or stop at a time. Raises AlreadyRunning with the pid of the other."""
    what = f"a start or stop of the Kafka in {folder}"
    lock = files.acquire(folder / "start.lock", what, files.Holder(os.getpid()))
    try:
        yield
    finally:
        lock.release()


def stop(folder: Path, *, delete: bool = False, seconds: float = STOP_S) -> list[record.Broker]:
    """End the brokers of a folder (SIGTERM, then SIGKILL) and return them; `delete` removes their records too.

    Processes that only have the pid of a broker that is gone are left alone.
    """
    found = record.read(folder)
    if found is None:
        return []
    with alone(folder):
        alive = found.alive
        process.end([broker.process for broker in alive], seconds)
        if delete:
            _remove(folder, found.size)
    return alive


def _remove(folder: Path, size: int) -> None:
    """Remove what `Cluster` wrote, and the folder itself where nothing else is in it."""
    for number in range(1, size + 1):
        shutil.rmtree(folder / f"broker-{number}", ignore_errors=True)
    for name in ("cluster.json", "log4j2.properties", "start.lock"):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
