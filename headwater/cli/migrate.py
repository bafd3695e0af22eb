"""`headwater migrate --to kafka`: the log of one machine carried to a cluster, while it goes on accepting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headwater.cli import options
from headwater.cli.output import complain, emit_json, leave, progress
from headwater.clock import SystemClock
from headwater.paths import DataDir
from headwater.run import exits

if TYPE_CHECKING:
    from headwater.run.migrate.work import Order, Outcome


def migrate(
    *,
    to: Annotated[Literal["kafka"], typer.Option("--to", help="Where the log goes.")] = "kafka",
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look whether it can be done and what there is; change nothing.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Take back a move that has not been completed.")
    ] = False,
    json_: options.Json = False,
) -> None:
    """Carry log, cursors, people and dedupe memory of one machine to Kafka, while the collector goes on accepting."""
    from headwater.run.migrate.work import alone, look
    from headwater.run.migrate.work import migrate as carry

    del to  # there is one place to go
    data, clock = DataDir(dir_), SystemClock()
    if rollback:
        _roll_back(data, json_=json_)
        return
    order = _order(data, workspace)
    if dry_run:
        _show(asyncio.run(look(order, clock)), order, json_=json_)
        return
    with alone(data), _shown() as begin:
        outcome = asyncio.run(carry(order, clock, begin))
    _show(outcome, order, json_=json_)


def _order(data: DataDir, given: str | None) -> Order:
    from headwater.run import configuration
    from headwater.run.migrate.work import Order
    from headwater.workspace.model import KafkaLogSettings

    file = configuration.find(data, given).absolute()
    found = configuration.read(file).workspace
    if not isinstance(found.log, KafkaLogSettings):
        leave(
            exits.CONFIG,
            f"{file}: log.type is {found.log.type}; --workspace names the workspace that the log goes to, with log: "
            "{type: kafka, brokers: [...]} (docs/operator/migrate.md)",
        )
    return Order(data, file, found, found.log, configuration.remembered(data))


def _roll_back(data: DataDir, *, json_: bool) -> None:
    from headwater.run.migrate.back import take_back
    from headwater.run.migrate.work import alone

    with alone(data):
        events = asyncio.run(take_back(data, SystemClock()))
    if json_:
        emit_json({"state": "taken back", "events_accepted_meanwhile": events})
        return
    print(
        f"taken back: the log is in {data.log} as before, with {events} events that were accepted meanwhile"
    )
    complain(
        "the topics hold a part of a copy: delete them, or choose another log.topic_prefix, before the next attempt"
    )


def _show(outcome: Outcome, order: Order, *, json_: bool) -> None:
    if json_:
        emit_json(outcome)
        return
    word = "would carry" if outcome.state == "possible" else "carried"
    for topic, number in outcome.events.items():
        print(f"{word} {topic}: {number:,} {'records' if outcome.state == 'possible' else 'events'}")
    for name in outcome.left_behind:
        complain(f"left behind: destination {name}, which is not in {order.file}")
    if outcome.state == "moved":
        complain(f"the log is on Kafka; from now on start with --workspace {order.file}")


@contextmanager
def _shown() -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    with progress() as display:

        def begin(topic: str, total: int) -> Callable[[int], None]:
            task = display.add_task(topic, total=total)
            return lambda done: display.advance(task, done)

        yield begin
