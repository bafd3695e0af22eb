"""`headwater check`: everything wrong with the workspace, at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from headwater.cli import options
from headwater.cli.output import complain, emit_json
from headwater.errors import ConfigError
from headwater.paths import DataDir
from headwater.run import exits

if TYPE_CHECKING:
    from headwater.workspace.model import Destination


def check(
    dir_: options.Dir = options.DIR, workspace: options.WorkspaceFile = None, json_: options.Json = False
) -> None:
    """Validate the workspace; prints each problem as FILE:LINE:COLUMN: MESSAGE."""
    from headwater.run import configuration

    file = configuration.find(DataDir(dir_), workspace)
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
    hints = _hints(loaded.workspace.destinations)
    if json_:
        emit_json({"file": str(file), "valid": True, "problems": [], "hints": hints})
        return
    for hint in hints:
        print(f"hint: {hint}")
    sources, destinations = loaded.workspace.sources, loaded.workspace.destinations
    print(f"{file}: valid; {len(sources)} source(s), {len(destinations)} destination(s)")


def _hints(destinations: Mapping[str, Destination]) -> list[str]:
    """What is legal and yet most likely a slip of the pen."""
    from headwater import fql

    return [
        f"destinations.{name}.filter: {hint}"
        for name, destination in destinations.items()
        if destination.filter
        for hint in fql.compile(destination.filter).hints
    ]
