"""`headwater check`: everything wrong with the workspace, at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli import options
from headwater.cli.output import complain, emit_json
from headwater.errors import ConfigError
from headwater.paths import DataDir
from headwater.run import exits

if TYPE_CHECKING:
    from headwater.run.live import Look
    from headwater.workspace.load import Loaded
    from headwater.workspace.model import Destination, Workspace


def check(
    *,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also look at brokers, topics, ClickHouse servers and hosts.")
    ] = False,
    json_: options.Json = False,
) -> None:
    """Validate the workspace; prints each problem as FILE:LINE:COLUMN: MESSAGE."""
    from headwater.run import configuration

    file = _file(DataDir(dir_), workspace)
    try:
        loaded = configuration.read(file)
    except ConfigError as error:
        if json_:
            emit_json({"file": str(file), "valid": False, "problems": error.problems, "hints": []})
        else:
            for problem in error.problems:
                print(problem)
            complain(f"{len(error.problems)} problem(s)")
        raise typer.Exit(exits.CONFIG) from None
    hints = [*_filter_hints(loaded.workspace.destinations), *_retention_hints(loaded.workspace)]
    found = asyncio.run(_look(loaded.workspace)) if live else []
    if json_:
        told = {"file": str(file), "valid": True, "problems": [], "hints": hints}
        emit_json(told | ({"live": found} if live else {}))
    else:
        _tell(loaded, hints, found)
    if any(look.state == "problem" for look in found):
        raise typer.Exit(exits.FAILED)


def _file(data: DataDir, given: str | None) -> Path:
    """The file given, else the one that runs on the folder, else the one that `headwater up` would take."""
    from headwater.run import configuration, files

    found = configuration.find(data, given)
    if given is None and (up := files.read_up(data)) is not None and up.workspace != str(found.absolute()):
        return Path(up.workspace or found)
    return found


async def _look(workspace: Workspace) -> list[Look]:
    from headwater.run.live import looks

    return [look async for look in looks(workspace)]


def _tell(loaded: Loaded, hints: Sequence[str], found: Sequence[Look]) -> None:
    for look in found:
        print(f"{look.state:<8}{look.what}: {look.found}")
    for hint in hints:
        print(f"hint: {hint}")
    sources, destinations = loaded.workspace.sources, loaded.workspace.destinations
    print(f"{loaded.file}: valid; {len(sources)} source(s), {len(destinations)} destination(s)")


def _filter_hints(destinations: Mapping[str, Destination]) -> list[str]:
    """Filters that are legal and yet most likely a slip of the pen."""
    from headwater import fql

    return [
        f"destinations.{name}.filter: {hint}"
        for name, destination in destinations.items()
        if destination.filter
        for hint in fql.compile(destination.filter).hints
    ]


def _retention_hints(workspace: Workspace) -> list[str]:
    """Where the log keeps more than its settings say, because the dedupe memory is rebuilt from it."""
    from headwater.log.retention import DAY_S, folded_s

    window = workspace.processors.dedupe.window_days
    needed = folded_s(window) / DAY_S
    because = (
        f"processors.dedupe.window_days is {window}: processed and dropped events are kept {needed:.0f} days"
    )
    hints = []
    if workspace.log.retention_days < needed and "retention_days" in workspace.log.model_fields_set:
        hints.append(f"log.retention_days is {workspace.log.retention_days:g}, {because} all the same")
    if workspace.log.retention_bytes:
        hints.append(f"log.retention_bytes is set, {because} whatever the size of processor.db")
    return hints
