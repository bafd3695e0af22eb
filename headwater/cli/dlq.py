"""`headwater dlq`: dead letters, what they say, and the two things to do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater import timestamps
from headwater.cli import options
from headwater.cli.output import complain, emit_json, leave, progress
from headwater.paths import DataDir
from headwater.run import exits

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from destinations.kit.letters import Letter
    from headwater.log.protocol import Log

app = typer.Typer(no_args_is_help=True, help="Dead letters: events that could not be delivered.")

Name = Annotated[str, typer.Argument(help="The destination's name in the workspace.")]
Ids = Annotated[list[int] | None, typer.Argument(help="Ids of letters, as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All open letters of the destination.")]


@app.command("list")
def list_(
    *,
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many, oldest first.")] = 100,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    json_: options.Json = False,
) -> None:
    """List open letters: id, when, why, and which event."""
    letters, more = asyncio.run(_oldest(DataDir(dir_), workspace, name, limit))
    if json_:
        emit_json([_facts(letter) for letter in letters])
        return
    for letter in letters:
        dead, event = letter.dead, _event(letter)
        when, message_id = timestamps.iso(dead.at_ms), event.get("messageId", "")
        detail = f" ({dead.detail})" if dead.detail else ""
        print(f"{letter.id:>6}  {when}  {dead.code}{detail}  {event.get('type', '')} {message_id}")
    if more:
        complain(f"{more} more; see --limit")
    elif not letters:
        complain(f"no open dead letters of {name}")


@app.command()
def show(
    *,
    name: Name,
    letter_id: Annotated[int, typer.Argument(help="Id of a letter, as `list` shows it.")],
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
) -> None:
    """Print one letter as JSON: the event, the request and the answer, without secrets."""
    data = DataDir(dir_)
    if letter := asyncio.run(_one(data, workspace, name, letter_id)):
        emit_json(_facts(letter))
        return
    leave(
        exits.FAILED, f"{name} has no open letter {letter_id}; see: headwater dlq list {name} {data.option}"
    )


@app.command()
def retry(
    *,
    name: Name,
    ids: Ids = None,
    all_: All = False,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    json_: options.Json = False,
) -> None:
    """Send letters again, with a fresh count of attempts."""
    _resolve(
        action="retry", name=name, ids=ids, all_=all_, data=DataDir(dir_), workspace=workspace, json_=json_
    )


@app.command()
def discard(
    *,
    name: Name,
    ids: Ids = None,
    all_: All = False,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    json_: options.Json = False,
) -> None:
    """Give letters up for good; they stay counted as discarded."""
    _resolve(
        action="discard", name=name, ids=ids, all_=all_, data=DataDir(dir_), workspace=workspace, json_=json_
    )


async def _oldest(data: DataDir, workspace: str | None, name: str, limit: int) -> tuple[list[Letter], int]:
    """The first open letters, and how many there are beside them."""
    from destinations.kit.letters import open_letters, survey

    found: list[Letter] = []
    async with _log(data, workspace, name) as log:
        known = await survey(log, name)
        async for letter in open_letters(log, name, known):
            found.append(letter)
            if len(found) == limit:
                break
    return found, known.count - len(found)


async def _one(data: DataDir, workspace: str | None, name: str, letter_id: int) -> Letter | None:
    from destinations.kit.letters import letter_of, survey

    async with _log(data, workspace, name) as log:
        return await letter_of(log, name, letter_id, await survey(log, name))


def _log(data: DataDir, workspace: str | None, name: str) -> AbstractAsyncContextManager[Log]:
    """The log, once it is known that the workspace has the destination."""
    from headwater.cli.reach import log_of, outline_of

    outline = outline_of(data, workspace)
    _known(name, outline.destinations)
    return log_of(data, outline)


def _known(name: str, destinations: Mapping[str, str]) -> None:
    if destinations and name not in destinations:
        leave(exits.CONFIG, f"no destination {name!r}; destinations: {', '.join(destinations)}")


def _event(letter: Letter) -> dict[str, Any]:
    from headwater import codec

    event = codec.read(letter.dead.event)
    return event if isinstance(event, dict) else {}


def _facts(letter: Letter) -> dict[str, Any]:
    from headwater import codec

    dead = letter.dead
    return {
        "id": letter.id,
        "at": timestamps.iso(dead.at_ms),
        "code": dead.code,
        "detail": dead.detail,
        "attempts": dead.attempts,
        "request": dead.request,
        "response": dead.response,
        "event": codec.read(dead.event),
    }


def _resolve(
    *,
    action: str,
    name: str,
    ids: list[int] | None,
    all_: bool,
    data: DataDir,
    workspace: str | None,
    json_: bool,
) -> None:
    from headwater.cli.reach import log_of, outline_of, workspace_file
    from headwater.run.letters import resolve

    if bool(ids) == all_:
        leave(exits.CONFIG, "give the ids of letters, or --all")
    outline = outline_of(data, workspace)
    _known(name, outline.destinations)
    log_of(data, outline)  # ends the command where there is no data at all
    with progress() as shown:
        task = shown.add_task(f"{action} letters", total=None)

        async def tell(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        result = asyncio.run(resolve(data, workspace_file(data, workspace), action, name, ids, tell))
    if json_:
        emit_json(result)
    else:
        print(f"{action}: {result['count']} letter(s) of {name}")
        for unknown in result["unknown"]:
            complain(f"{name} has no open letter {unknown}")
    raise typer.Exit(exits.FAILED if result["unknown"] else exits.OK)
