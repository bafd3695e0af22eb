"""`headwater trace`: one event's journey."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from headwater import timestamps
from headwater.cli import options
from headwater.cli.output import emit_json, leave, progress
from headwater.paths import DataDir
from headwater.run import exits, files

if TYPE_CHECKING:
    from destinations.kit.inspect import Journey as DestinationJourney
    from headwater.run.journey import Journey, Stop
    from headwater.workspace.outline import Outline


def trace(
    *,
    message_id: Annotated[str, typer.Argument(help="The event's messageId.")],
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    json_: options.Json = False,
) -> None:
    """Show where an event came from and what became of it; exits 1 where nothing knows it.

    What the log no longer holds is looked up in the running, embedded ClickHouse.
    """
    from headwater.cli.reach import log_of, outline_of
    from headwater.run.holdups import holdups
    from headwater.run.journey import journey

    data = DataDir(dir_)
    outline = outline_of(data, workspace)

    async def search() -> tuple[Journey, dict[str, str]]:
        async with log_of(data, outline) as log:
            with progress() as bar:
                task = bar.add_task("searching")

                def show(topic: str, done: int, total: int) -> None:
                    bar.update(task, description=topic, completed=done, total=total)

                return await journey(log, message_id, list(outline.destinations), show), await holdups(data)

    found, held_back = asyncio.run(search())
    if not found.stops:
        found = _recalled(data, outline, found)
    if json_:
        emit_json(found)
    else:
        for line in lines(found, held_back):
            print(line)
    if not found.stops:
        leave(exits.FAILED, "" if json_ else _unknown(data, message_id))


def _recalled(data: DataDir, outline: Outline, found: Journey) -> Journey:
    """The journey as ClickHouse remembers it, or as it was."""
    from headwater.run.recall import recall

    up = files.read_up(data)
    if up is None or up.clickhouse_port is None:
        return found
    warehouses = [name for name, kind in outline.destinations.items() if kind == "clickhouse"]
    return recall(up.clickhouse_port, found.message_id, warehouses)


def _unknown(data: DataDir, message_id: str) -> str:
    up = files.read_up(data)
    asked = ", nor does ClickHouse" if up is not None and up.clickhouse_port is not None else ""
    return (
        f"the log holds no event {message_id!r} (any more){asked}; a recent one was never accepted: "
        "look at what its client was answered, and at `headwater doctor` for unknown write keys"
    )


def lines(found: Journey, held_back: Mapping[str, str]) -> list[str]:
    """The journey for people, a line for each step; `held_back` says why a destination lets its events wait."""
    text = [_line(stop) for stop in found.stops]
    if found.unprocessed:
        text.append(f"{'in flight':<10} accepted and not yet processed: {found.unprocessed}")
    for destination in found.destinations:
        text += _delivery(destination, held_back.get(destination.destination, ""))
    if any(stop.kept_in for stop in found.stops):
        text.append(
            "the log no longer holds it; this is what ClickHouse remembers, other destinations are not known"
        )
    return text


def _line(stop: Stop) -> str:
    if stop.stage == "dropped":
        detail = f" ({stop.detail})" if stop.detail else ""
        return f"{'dropped':<10} {stop.at}  by {stop.processor}: {stop.reason}{detail}"
    what = f"{stop.type} {stop.name!r}" if stop.name else stop.type
    return f"{stop.stage:<10} {stop.at}  {what} from source {stop.source}"


def _delivery(journey: DestinationJourney, held_back: str) -> list[str]:
    reason = f": {journey.reason}" if journey.reason else ""
    waits = f" (the destination is {held_back})" if journey.state == "waiting" and held_back else ""
    text = [f"{journey.destination:<10} {journey.state}{reason}{waits}"]
    for attempt in journey.attempts:
        answer = f", answered {attempt.status}" if attempt.status else ""
        body = f" {attempt.response!r}" if attempt.response else ""
        due = f", next at {timestamps.iso(attempt.due_ms)}" if attempt.due_ms else ""
        why = f" ({attempt.reason})" if attempt.reason else ""
        when = timestamps.iso(attempt.at_ms)
        text.append(f"{'':<10}   attempt {attempt.number} {when}  {attempt.state}{why}{answer}{body}{due}")
    return text
