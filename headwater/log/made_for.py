"""Whether a folder's log fits the workspace, seen before any stage is started: each would end over it again and again."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from headwater.errors import LogError
from headwater.log.sqlite_file import open_for_reading
from headwater.paths import DataDir
from headwater.workspace.model import KafkaLogSettings, LogSettings

_MADE_FOR = (
    "SELECT value FROM settings WHERE name = 'partitions' AND EXISTS (SELECT 1 FROM partitions WHERE end > 0)"
)


def check_partitions(data: DataDir, settings: LogSettings) -> None:
    """Raises LogError where a file holds events in another number of partitions than the workspace asks for."""
    if isinstance(settings, KafkaLogSettings):
        return
    for path in sorted(data.log.glob("*.db")):
        stored = _made_for(path)
        if stored not in (None, settings.partitions):
            raise LogError(
                f"{path}: holds events in {stored} partitions, log.partitions says {settings.partitions}; "
                f"set it back to {stored}, or start with an empty --dir"
            )


def _made_for(path: Path) -> int | None:
    """The number of partitions that a file was made for; None where there are no events, or nobody can tell."""
    try:
        connection = open_for_reading(path)
        if connection is None:
            return None
        with contextlib.closing(connection):
            row = connection.execute(_MADE_FOR).fetchone()
    except (
        LogError,
        sqlite3.Error,
    ):  # half made by a process that was killed, or broken: its owner mends it, or says so
        return None
    return None if row is None else int(row[0])
