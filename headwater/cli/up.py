"""`headwater up`: everything on this machine."""

from __future__ import annotations

import typer

from headwater.cli import options
from headwater.paths import DataDir
from headwater.run.settings import DEFAULT_CLICKHOUSE_PORT, DEFAULT_PORT, LOOPBACK


def up(
    *,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    host: options.Host = LOOPBACK,
    port: options.Port = DEFAULT_PORT,
    clickhouse_port: options.ClickhousePort = DEFAULT_CLICKHOUSE_PORT,
    log_format: options.LogFormat = "auto",
    log_level: options.LogLevel = "info",
) -> None:
    """Run collector, processor, destinations and the embedded ClickHouse; prints `ready URL` when events can come."""
    from headwater.run.supervisor import UpOptions
    from headwater.run.supervisor import up as run_up

    told = UpOptions(
        data=DataDir(dir_),
        workspace=workspace,
        host=host,
        port=port,
        clickhouse_port=clickhouse_port,
        log_style=log_format,
        log_level=log_level,
    )
    raise typer.Exit(run_up(told))
