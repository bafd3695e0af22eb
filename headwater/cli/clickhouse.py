"""`headwater clickhouse`: what an administrator of a ClickHouse server does once."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli import options
from headwater.cli.output import complain, leave
from headwater.errors import ConfigError
from headwater.paths import DataDir
from headwater.run import exits

if TYPE_CHECKING:
    from headwater.workspace.model import Workspace

app = typer.Typer(no_args_is_help=True, help="ClickHouse servers: users and their rights.")


@app.callback()
def clickhouse() -> None:
    """ClickHouse servers: users and their rights."""


@app.command()
def grants(
    *,
    destination: Annotated[
        str | None, typer.Option(help="Name of a clickhouse destination; not needed where there is one.")
    ] = None,
    analyst: Annotated[str, typer.Option(help="Name of the user for reading.")] = "headwater_analyst",
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
) -> None:
    """Print the SQL that makes the loader's user and one for analysts, with the rights each needs and no others."""
    from destinations.clickhouse.config import Config
    from destinations.clickhouse.grants import Login, statements
    from destinations.clickhouse.loader import target_of
    from headwater.run import configuration
    from headwater.workspace.model import secret

    try:
        found = configuration.read(configuration.find(DataDir(dir_), workspace)).workspace
    except ConfigError as error:
        leave(exits.CONFIG, str(error))
    config = Config.model_validate(found.destinations[_chosen(found, destination)].options)
    loader = "headwater" if config.username == "default" else config.username
    password, reading = secret(config.password), secrets.token_urlsafe(18)
    if not password:
        password = secrets.token_urlsafe(18)
        complain(f"set in headwater.yaml: username: {loader}, password: {password}")
    complain(f"the password of {analyst} is {reading}")
    users = Login(loader, password, secrets.token_hex(8)), Login(analyst, reading, secrets.token_hex(8))
    for statement in statements(target_of(config), found.sources, *users):
        print(f"{statement};")


def _chosen(workspace: Workspace, name: str | None) -> str:
    """The destination that is meant; ends the command where that is not clear."""
    servers = [
        key
        for key, one in workspace.destinations.items()
        if one.type == "clickhouse" and one.options.get("url")
    ]
    if name is None and len(servers) == 1:
        return servers[0]
    if name not in servers:
        known = ", ".join(servers) or "none: give a clickhouse destination a url"
        leave(
            exits.CONFIG, f"say which destination with --destination; those on a ClickHouse server: {known}"
        )
    return str(name)
