"""The spool as another process may look at it: how much waits there, and what was set aside. Changes nothing."""

from __future__ import annotations

from msgspec import Struct

from headwater.log.spool_cursor import Cursor
from headwater.log.spool_folder import ASIDE, Folder
from headwater.log.spool_frame import HEAD_BYTES, kept_ms_of
from headwater.paths import DataDir


class Look(Struct, frozen=True):
    """Bytes of files with batches that are not in the log; `oldest_ms` is when the first of them was kept (0: none)."""

    bytes: int = 0
    oldest_ms: int = 0
    aside: list[str] = []


def look(data: DataDir) -> Look:
    """What is there now. Raises OSError for a folder that may not be read."""
    folder = Folder(data.spool)
    if not data.spool.is_dir():
        return Look()
    place = Cursor(folder).place
    segments = folder.segments()
    if place is not None:  # of the last file that begins at or before the cursor, something may be left
        begun = sum(segment.first <= place.drained for segment in segments)
        segments = segments[max(0, begun - 1) :]
    aside = [f"{ASIDE}/{path.name}" for path in folder.aside()]
    if not segments:
        return Look(aside=aside)
    try:
        oldest = kept_ms_of(folder.read(segments[0].name, 0, HEAD_BYTES))
    except FileNotFoundError:  # drained this very moment
        oldest = 0
    return Look(sum(segment.size for segment in segments), oldest, aside)
