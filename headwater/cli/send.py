"""`headwater send`: one event from flags, or NDJSON from a file or stdin, over HTTP like any client."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater import timestamps
from headwater.cli import options
from headwater.cli.output import complain, emit_json, leave, progress
from headwater.errors import ConfigError, Problem
from headwater.event import EVENT_TYPES
from headwater.paths import DataDir
from headwater.run import exits

if TYPE_CHECKING:
    from headwater.workspace.outline import SourceOutline

BATCH_EVENTS = 100


def send(
    *,
    what: Annotated[
        str,
        typer.Argument(
            help="identify, track, page, screen, group or alias; or a file of NDJSON events; - for stdin."
        ),
    ],
    event: Annotated[str | None, typer.Option(help="Name of a track call.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of a page or screen call.")] = None,
    user_id: Annotated[str | None, typer.Option(help="userId.")] = None,
    anonymous_id: Annotated[str | None, typer.Option(help="anonymousId; a fresh one without any id.")] = None,
    group_id: Annotated[str | None, typer.Option(help="groupId.")] = None,
    previous_id: Annotated[str | None, typer.Option(help="previousId of an alias call.")] = None,
    message_id: Annotated[str | None, typer.Option(help="messageId; a fresh one by default.")] = None,
    timestamp: Annotated[str | None, typer.Option(help="ISO-8601 time; now by default.")] = None,
    property_: Annotated[
        list[str] | None,
        typer.Option("--property", metavar="KEY=VALUE", help="A property; the value may be JSON."),
    ] = None,
    trait: Annotated[
        list[str] | None, typer.Option("--trait", metavar="KEY=VALUE", help="A trait; the value may be JSON.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Source to send as; default: the first server source of the workspace.")
    ] = None,
    write_key: Annotated[str | None, typer.Option(help="Write key, instead of --source.")] = None,
    url: Annotated[str | None, typer.Option(help="Collector, when it does not run on --dir.")] = None,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    json_: options.Json = False,
) -> None:
    """Send one event, or a file of them; prints their messageIds, and on stderr what was rejected and why."""
    from headwater.cli.reach import outline_of, running
    from headwater.run.client import deliver

    data = DataDir(dir_)
    flags = {
        "event": event,
        "name": name,
        "userId": user_id,
        "anonymousId": anonymous_id,
        "groupId": group_id,
        "previousId": previous_id,
        "messageId": message_id,
        "timestamp": timestamp,
        "properties": _pairs(property_),
        "traits": _pairs(trait),
    }
    if timestamp is not None and timestamps.parse(timestamp) is None:  # the collector would take it as "now"
        leave(exits.CONFIG, f"--timestamp: {timestamp!r} is no ISO-8601 time, as in 2026-03-01T12:00:00Z")
    given = {key: value for key, value in flags.items() if value is not None}
    events = _events(what, given)
    key = _key(outline_of(data, workspace).sources, write_key, source, elsewhere=url is not None)
    where = url or running(data).url
    accepted: list[str] = []
    rejected: list[dict[str, Any]] = []
    try:
        with progress() as bar:
            task = bar.add_task("sending", total=None)
            for batch in _batches(events):
                refused = deliver(where, key, batch)
                indexes = {item.get("index") for item in refused}
                ids = [sent["messageId"] for index, sent in enumerate(batch) if index not in indexes]
                accepted += ids
                rejected += refused
                bar.advance(task, len(batch))
                if not json_:
                    _show(ids, refused)
    finally:  # what was accepted before something failed is told all the same
        if json_:
            emit_json({"accepted": accepted, "rejected": rejected})
    raise typer.Exit(exits.FAILED if rejected else exits.OK)


def _key(
    sources: Mapping[str, SourceOutline], given: str | None, source: str | None, *, elsewhere: bool
) -> str:
    """The write key to send with. One that nobody has is answered 200 and dropped, so it is told here."""
    from headwater.run.client import choose_key

    if given is None:
        return choose_key(sources, source)
    known = {key for one in sources.values() for key in one.write_keys}
    unread = any(len(one.write_keys) < one.declared for one in sources.values())  # a ${NAME} of another shell
    if sources and given not in known and not (elsewhere or unread):
        leave(
            exits.CONFIG,
            f"no source has the write key {given!r}; sources: {', '.join(sources)}; name one with --source, "
            "or another collector with --url",
        )
    return given


def _show(ids: list[str], refused: list[dict[str, Any]]) -> None:
    for message_id in ids:
        print(message_id)
    for item in refused:
        complain(f"rejected {item.get('messageId', '')}: {item.get('code', '')}: {item.get('message', '')}")


def _pairs(given: list[str] | None) -> dict[str, Any] | None:
    if not given:
        return None
    pairs: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            leave(exits.CONFIG, f"{pair!r} is no KEY=VALUE, as in plan=pro")
        pairs[key] = _value(value)
    return pairs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _events(what: str, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if what in EVENT_TYPES:
        return iter([{"type": what, **given}])
    if given:
        leave(
            exits.CONFIG, f"{what!r} is no event type ({', '.join(sorted(EVENT_TYPES))}), and flags need one"
        )
    if what != "-" and (Path(what).is_dir() or not Path(what).exists()):
        leave(
            exits.CONFIG, f"{what!r} is neither an event type ({', '.join(sorted(EVENT_TYPES))}) nor a file"
        )
    return _lines(what)


def _lines(what: str) -> Iterator[dict[str, Any]]:
    with sys.stdin if what == "-" else Path(what).open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError as error:
                raise _unreadable(what, number, f"not JSON: {error}") from None
            if not isinstance(event, dict):
                raise _unreadable(what, number, "an event is an object")
            yield event


def _unreadable(what: str, number: int, why: str) -> ConfigError:
    return ConfigError([Problem(f"{why}; nothing from this line on was sent", what, number)])


def _batches(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    from headwater.run.client import EVENTS_BYTES, complete

    batch: list[dict[str, Any]] = []
    size = 0
    broken: ConfigError | None = None
    try:
        for event in events:
            whole = complete(event)
            length = len(json.dumps(whole).encode())
            if batch and (len(batch) == BATCH_EVENTS or size + length > EVENTS_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(whole)
            size += length
    except ConfigError as error:  # what came before the broken line is sent all the same
        broken = error
    if batch:
        yield batch
    if broken:
        raise broken
