"""A picture of the embedded engine's tables at one instant, as hard links: what a backup copies while loading goes on.

`ALTER TABLE ... FREEZE` links the active parts of a table below `shadow/`, in the places they have in the folder itself. The
definitions of tables and databases are laid beside them, so that the picture can be opened like the folder. What is left
out: the engine's own note of recent inserts, which a loader that starts does not ask.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from destinations.clickhouse.engine import Engine
from destinations.clickhouse.names import literal, quote

SHADOW = "shadow"
PREFIX = "headwater_backup_"  # of letters that the engine does not escape in the names of folders
_OURS = "database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema')"


def freeze(engine: Engine, folder: Path, name: str) -> Path:
    """Take the picture (blocking); the folder that holds it. Raises EngineError, OSError.

    Nobody may insert or define anything meanwhile: tables are taken one after another.
    """
    clear(folder)
    picture = folder / SHADOW / f"{PREFIX}{name}"
    tables = engine.query(
        f"SELECT database, name FROM system.tables WHERE engine LIKE '%MergeTree' AND {_OURS} ORDER BY database, name"
    )
    for database, table in tables:
        engine.command(
            f"ALTER TABLE {quote(database)}.{quote(table)} FREEZE WITH NAME {literal(picture.name)}"
        )
    picture.mkdir(parents=True, exist_ok=True)
    for found in (*folder.glob("metadata/*.sql"), *folder.glob("store/*/*/*.sql")):
        target = picture / found.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)
    return picture


def clear(folder: Path) -> None:
    """Remove every picture, also those that a killed backup left behind."""
    for left in (folder / SHADOW).glob(f"{PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
