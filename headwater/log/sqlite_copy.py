"""Copying log files while they are written: pin what they hold at one instant, then copy that at leisure.

A pinned file is a read transaction that stays open: its writer goes on, what it writes meanwhile stays in the write-ahead
log. Positions refer to the file of another process, so the file that holds them is pinned before the one they point into:
a position is then never ahead of its log, and nothing between the two can have been removed by retention meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from headwater.errors import LogError
from headwater.log.sqlite_file import PAGE_BYTES, open_for_reading, refusal, sync

ORDER = ("destinations", "processor", "collector")  # positions first, then what they point into
STEP_PAGES = 256  # 1 MiB between two reports

Progress = Callable[[int], None]  # bytes copied since the last call; may sleep


class Pinned:
    """One file as it was when this was made, until `close`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection

    @property
    def bytes(self) -> int:
        """How large the copy will be."""
        ((pages,),) = self._connection.execute("PRAGMA page_count").fetchall()
        return int(pages) * PAGE_BYTES

    def positions(self) -> dict[str, Any]:
        """What it holds: begin and end of each partition, and how far each group had read."""
        partitions = self._connection.execute(
            'SELECT topic, partition, begin, "end", events FROM partitions ORDER BY topic, partition'
        ).fetchall()
        groups = self._connection.execute(
            "SELECT grp, topic, partition, offset FROM positions ORDER BY grp, topic, partition"
        ).fetchall()
        return {
            "file": self.path.name,
            "partitions": [
                dict(zip(("topic", "partition", "begin", "end", "events"), row, strict=True))
                for row in partitions
            ],
            "groups": [
                dict(zip(("group", "topic", "partition", "offset"), row, strict=True)) for row in groups
            ],
        }

    def copy(self, target: Path, progress: Progress = lambda _: None) -> None:
        """Write the copy, durably. Raises LogError where it exists or cannot be read, OSError where it cannot be written."""
        if target.exists():
            raise LogError(f"{target}: exists already; back up to an empty folder")
        before: list[int] = []

        def told(_status: int, remaining: int, total: int) -> None:
            done = (total - remaining) * PAGE_BYTES
            progress(done - sum(before[-1:]))
            before.append(done)

        copy = sqlite3.connect(target)
        try:
            self._connection.backup(copy, pages=STEP_PAGES, progress=told)
        except sqlite3.Error as error:
            raise refusal(
                self.path, error, "see that the disk can be read and the target has space"
            ) from error
        finally:
            copy.close()
        sync(target)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def pin(path: Path) -> Pinned | None:
    """Pin one file; None while it does not exist. Raises LogUnavailable, LogError, Corrupt."""
    connection = open_for_reading(path)
    if connection is None:
        return None
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM partitions").fetchall()  # only a read pins
    except sqlite3.Error as error:
        connection.close()
        raise refusal(path, error, "see that the disk can be read") from error
    return Pinned(path, connection)


@contextmanager
def pinned(folder: Path) -> Iterator[list[Pinned]]:
    """All files of a log folder that exist, pinned in the order that keeps positions behind their logs."""
    with ExitStack() as stack:
        files = (pin(folder / f"{name}.db") for name in ORDER)
        yield [stack.enter_context(closing(one)) for one in files if one is not None]
