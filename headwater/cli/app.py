"""All commands, in the order that `headwater --help` shows."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.backup import backup, restore
from headwater.cli.check import check
from headwater.cli.clickhouse import app as clickhouse
from headwater.cli.demo import demo
from headwater.cli.dev import app as dev
from headwater.cli.dlq import app as dlq
from headwater.cli.doctor import doctor
from headwater.cli.init import init
from headwater.cli.migrate import migrate
from headwater.cli.query import query
from headwater.cli.send import send
from headwater.cli.stages import collector, destination, processor
from headwater.cli.status import status
from headwater.cli.tap import tap
from headwater.cli.topics import app as topics
from headwater.cli.trace import trace
from headwater.cli.up import up
from headwater.cli.version import version

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Headwater: a self-hosted, Segment-compatible event pipeline.",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _of_all(
    *,
    version_: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="As `headwater version`.")
    ] = False,
) -> None:
    del version_  # told, and the command has ended, before this is reached


for command in (
    up,
    demo,
    init,
    check,
    send,
    tap,
    trace,
    query,
    status,
    doctor,
    backup,
    restore,
    collector,
    processor,
    destination,
    migrate,
    version,
):
    app.command()(command)
app.add_typer(dlq, name="dlq")
app.add_typer(topics, name="topics")
app.add_typer(dev, name="dev")
app.add_typer(clickhouse, name="clickhouse")
