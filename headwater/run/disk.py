"""What a data folder takes on disk, and what is left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from headwater.paths import DataDir


def usage(data: DataDir) -> dict[str, int]:
    """Bytes allocated below log, state and clickhouse, and bytes free beside them."""
    parts = {"log": data.log, "state": data.state, "clickhouse": data.clickhouse}
    return {**{name: folder_bytes(path) for name, path in parts.items()}, "free": free_bytes(data.root)}


def free_bytes(path: Path) -> int:
    """Bytes an ordinary user may still write at `path` or, while it does not exist, where it would be made."""
    here = path.absolute()
    while not here.exists():
        here = here.parent
    return shutil.disk_usage(here).free


def folder_bytes(folder: Path) -> int:
    """Allocated bytes: LMDB and SQLite files are sparse, their length says little."""
    return sum(found.stat(follow_symlinks=False).st_blocks * 512 for found in _files(folder))


def in_words(size: float) -> str:
    """A number of bytes for people: 512 B, 57 MB, 1.5 TB."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:  # files come and go while ClickHouse merges
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False) and os.path.exists(entry.path):  # noqa: PTH110
            yield entry
