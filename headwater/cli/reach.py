"""Finding the pipeline a command is about: what runs on the folder, and its log, opened for reading only."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli.output import leave
from headwater.paths import DEFAULT_DIR, DEMO_DIR, DataDir
from headwater.run import configuration, exits, files

if TYPE_CHECKING:
    from headwater.log.protocol import Log
    from headwater.workspace.outline import Outline


def running(data: DataDir) -> files.Up:
    """What runs on the folder; ends the command with NOT_RUNNING where nothing does."""
    up = files.read_up(data)
    if up is None:
        leave(exits.NOT_RUNNING, f"nothing runs on {data.root}; {_instead(data)}")
    return up


def _instead(data: DataDir) -> str:
    """What to type where the folder has nothing: mostly `up`; beside a running demo, its folder is what was meant."""
    if data.root == DEFAULT_DIR and files.read_up(DataDir(DEMO_DIR)) is not None:
        return f"a demo runs here: add --dir {DEMO_DIR}"
    return f"start it with: headwater up {data.option}"


def workspace_file(data: DataDir, given: str | None) -> Path:
    """The file given, else the one the folder runs or last ran with, else the default one."""
    if given is None and (known := configuration.remembered(data)):
        return known
    return configuration.find(data, given)


def outline_of(data: DataDir, given: str | None) -> Outline:
    """Sources, destinations and log of the workspace, as far as they can be read without its secrets."""
    from headwater.workspace.outline import outline

    return outline(workspace_file(data, given))


def log_of(data: DataDir, outline: Outline) -> AbstractAsyncContextManager[Log]:
    """The workspace's log, for reading; ends the command where it should be in the folder and is not.

    A log on Kafka is read from any host, whatever runs there.
    """
    from headwater.log.open import open_log
    from headwater.workspace.model import SqliteLogSettings

    if isinstance(outline.log, SqliteLogSettings) and not data.log.is_dir():
        leave(exits.NOT_RUNNING, f"there is no data in {data.root}; {_instead(data)}")
    return open_log(outline.log, data, None)
