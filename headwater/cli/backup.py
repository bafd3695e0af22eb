"""`headwater backup` and `headwater restore`: the data of one machine, copied while it works, and put back."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli import options
from headwater.cli.output import complain, emit_json, progress
from headwater.clock import SystemClock
from headwater.paths import WORKSPACE_FILE, DataDir

if TYPE_CHECKING:
    from headwater.run.manifest import Manifest

MB = 1_000_000


def backup(
    *,
    folder: Annotated[Path, typer.Argument(help="Where the backup goes: empty, or not there yet.")],
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    rate: Annotated[
        int, typer.Option("--rate", min=0, help="Copy at most this many MB a second; 0 for no bound.")
    ] = 100,
    json_: options.Json = False,
) -> None:
    """Copy log, ClickHouse and workspace of one instant to a folder, while everything runs."""
    from headwater.cli.reach import log_of, outline_of, workspace_file
    from headwater.run.backup import Order, back_up

    data = DataDir(dir_)
    outline = outline_of(data, workspace)
    if outline.log.type == "sqlite":
        log_of(data, outline)  # ends the command where there is no data at all
    order = Order(data, outline, workspace_file(data, workspace), folder, rate * MB)
    with _shown("backing up, MB") as (begin, report):
        made = asyncio.run(back_up(order, SystemClock(), begin, report))
    if json_:
        emit_json({"folder": str(folder), **_facts(made)})
        return
    print(f"backed up {', '.join(made.parts)}: {len(made.files)} files, {made.bytes:,} bytes in {folder}")
    for part, why in made.left_out.items():
        complain(f"not in it: {part} ({why})")


def restore(
    *,
    folder: Annotated[Path, typer.Argument(help="A folder that `headwater backup` made.")],
    dir_: options.Dir = options.DIR,
    force: Annotated[
        bool, typer.Option("--force", help="Move what is in --dir aside instead of refusing.")
    ] = False,
    json_: options.Json = False,
) -> None:
    """Verify a backup and put it in place as --dir; then start it with `headwater up`."""
    from headwater.run.restore import restore as put_in_place

    with _shown("verifying and restoring, MB") as (begin, report):
        done = put_in_place(folder, DataDir(dir_), SystemClock(), begin, report, force=force)
    if json_:
        aside = None if done.aside is None else str(done.aside)
        emit_json({"dir": str(dir_), "moved_aside": aside, **_facts(done.manifest)})
        return
    print(f"restored {', '.join(done.manifest.parts)} of {done.manifest.created} to {dir_}")
    if done.aside is not None:
        complain(f"what was there is in {done.aside} now")
    workspace = shlex.quote(str(dir_ / WORKSPACE_FILE))
    complain(f"start it with: headwater up {DataDir(dir_).option} --workspace {workspace}")


def _facts(made: Manifest) -> dict[str, Any]:
    return {
        "created": made.created,
        "parts": made.parts,
        "left_out": made.left_out,
        "files": len(made.files),
        "bytes": made.bytes,
    }


@contextmanager
def _shown(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Progress in MB on a terminal: what tells the total, and what tells of bytes done."""
    with progress() as display:
        task = display.add_task(what, total=None)
        done = 0

        def begin(total: int) -> None:
            display.update(task, total=max(1, total // MB))

        def report(size: int) -> None:
            nonlocal done
            done += size
            display.update(task, completed=done // MB)

        yield begin, report
