"""`headwater topics`: the log's topics on Kafka, compared with the workspace and made to fit it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from headwater.cli import options
from headwater.cli.output import complain, emit_json, leave
from headwater.paths import DataDir
from headwater.run import exits

if TYPE_CHECKING:
    from headwater.log.kafka.topics import Change, Topics

app = typer.Typer(
    no_args_is_help=True, help="The log's topics on Kafka: what is missing or wrong, and making it so."
)


@app.command()
def plan(
    dir_: options.Dir = options.DIR, workspace: options.WorkspaceFile = None, json_: options.Json = False
) -> None:
    """Show what `headwater topics apply` would do; nothing is changed."""
    topics, names = _topics(dir_, workspace)
    _show(asyncio.run(topics.plan(names)), json_=json_, done=False)


@app.command()
def apply(
    dir_: options.Dir = options.DIR, workspace: options.WorkspaceFile = None, json_: options.Json = False
) -> None:
    """Create missing topics and set what differs; what would move events or remove them is refused."""
    topics, names = _topics(dir_, workspace)

    async def work() -> list[Change]:
        changes = await topics.plan(names)
        await topics.apply(changes)
        return changes

    _show(asyncio.run(work()), json_=json_, done=True)


def _topics(dir_: options.Dir, given: str | None) -> tuple[Topics, list[str]]:
    """The topics of the workspace; ends the command where its log is not on Kafka."""
    from headwater.run import configuration
    from headwater.run.live import kafka_topics

    file = configuration.find(DataDir(dir_), given)
    found = kafka_topics(configuration.read(file).workspace)
    if found is None:
        leave(
            exits.CONFIG, f"{file}: log.type is not kafka, so there are no topics; see docs/operator/kafka.md"
        )
    return found


def _show(changes: Sequence[Change], *, json_: bool, done: bool) -> None:
    refused = [change for change in changes if change.kind == "refuse"]
    if json_:
        told = [{"kind": change.kind, "topic": change.topic, "what": change.what} for change in changes]
        emit_json({"applied": done, "changes": told})
    else:
        for change in changes:
            mark = {"create": "+", "alter": "~", "refuse": "!"}[change.kind]
            print(f"{mark} {change.topic}: {change.what}")
        if not changes:
            print("the topics are as the workspace wants them")
    if refused:
        complain(f"{len(refused)} difference(s) cannot be settled by changing the topics")
        raise typer.Exit(exits.FAILED)
