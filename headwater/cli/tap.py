"""`headwater tap`: live events at any topic."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from headwater.cli import options
from headwater.cli.output import complain, leave
from headwater.paths import DataDir
from headwater.run import exits


def tap(
    *,
    topic: Annotated[
        str,
        typer.Argument(help="accepted, processed, dropped, profiles, deliveries, dead.NAME or retry.NAME."),
    ] = "processed",
    filter_: Annotated[
        str | None, typer.Option("--filter", help="FQL; only events for which it is true.")
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin with the oldest event kept.")
    ] = False,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="Stop at the end instead of waiting.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    json_: options.Json = False,
) -> None:
    """Print events as they pass; Ctrl-C ends it."""
    from headwater import fql
    from headwater.cli.reach import log_of, outline_of
    from headwater.log import topics
    from headwater.run import files
    from headwater.run.tap import SHORT
    from headwater.run.tap import tap as read
    from headwater.workspace.model import KafkaLogSettings

    data = DataDir(dir_)
    full = SHORT.get(topic, topic)
    try:
        topics.spec_of(full)
    except ValueError:
        leave(exits.CONFIG, f"no topic {topic!r}; topics: {', '.join(SHORT)}, dead.NAME, retry.NAME")
    test = fql.compile(filter_) if filter_ is not None else fql.compile("true")
    for hint in test.hints:
        complain(f"--filter: {hint}")
    outline = outline_of(data, workspace)
    _known(full, outline.destinations)

    if not no_follow and files.read_up(data) is None and not isinstance(outline.log, KafkaLogSettings):
        complain(
            f"nothing runs on {data.root}: new events come once something does; --no-follow ends at the last"
        )

    async def follow() -> None:
        seen = 0
        async with log_of(data, outline) as log:
            lines = read(log, full, test, from_start=from_start, follow=not no_follow)
            async with contextlib.aclosing(lines):
                async for line in lines:
                    print(json.dumps(line, ensure_ascii=False) if json_ else pretty(line), flush=True)
                    seen += 1
                    if limit is not None and seen >= limit:
                        return

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(follow())


def _known(topic: str, destinations: Mapping[str, str]) -> None:
    """Ends the command where the topic is that of a destination which the workspace does not have."""
    from headwater.log import topics

    for prefix in (topics.DEAD_PREFIX, topics.RETRY_PREFIX):
        name = topic.removeprefix(prefix)
        if destinations and name not in {topic, *destinations}:
            leave(exits.CONFIG, f"no destination {name!r}; destinations: {', '.join(destinations)}")


def pretty(line: dict[str, Any]) -> str:
    """One event on one line for people: time, type, name, who, and what it carries."""
    event = line["event"] if isinstance(line.get("event"), dict) else line
    if "type" not in event:
        return json.dumps(line, ensure_ascii=False)
    time = str(event.get("receivedAt", ""))[11:23]
    who = event.get("userId") or event.get("anonymousId") or "-"
    name = event.get("event") or event.get("name") or ""
    bodies = {key: event[key] for key in ("properties", "traits") if event.get(key)}
    tail = " ".join(json.dumps(body, ensure_ascii=False) for body in bodies.values())
    reason = f"[{line['reason']}] " if "reason" in line else ""
    source = event.get("sourceId", "-")
    return f"{time} {source:<8} {reason}{event['type']:<8} {name!r:<28} {who}  {event.get('messageId', '')}  {tail}".rstrip()
