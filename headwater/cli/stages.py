"""`headwater collector`, `processor` and `destination NAME`: one stage in the foreground, the same code that `up` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.cli import options
from headwater.paths import DataDir
from headwater.run.settings import DEFAULT_PORT, LOOPBACK, StageSettings


def collector(
    *,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    host: options.Host = LOOPBACK,
    port: options.Port = DEFAULT_PORT,
    log_format: options.LogFormat = "auto",
    log_level: options.LogLevel = "info",
) -> None:
    """Run the collector alone."""
    _run(
        StageSettings(
            stage="collector",
            dir=str(dir_),
            workspace=_file(dir_, workspace),
            host=host,
            port=port,
            log_style=log_format,
            log_level=log_level,
        )
    )


def processor(
    *,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    health_host: options.HealthHost = LOOPBACK,
    health_port: options.HealthPort = None,
    log_format: options.LogFormat = "auto",
    log_level: options.LogLevel = "info",
) -> None:
    """Run the processor alone."""
    _run(
        StageSettings(
            stage="processor",
            dir=str(dir_),
            workspace=_file(dir_, workspace),
            health_host=health_host,
            health_port=health_port,
            log_style=log_format,
            log_level=log_level,
        )
    )


def destination(
    *,
    name: Annotated[str, typer.Argument(help="The destination's name in the workspace.")],
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    clickhouse_port: Annotated[
        int | None,
        typer.Option(
            "--clickhouse-port",
            envvar="HEADWATER_CLICKHOUSE_PORT",
            min=1,
            max=65535,
            help="Port of loopback where the embedded ClickHouse answers, read-only; none by default.",
        ),
    ] = None,
    health_host: options.HealthHost = LOOPBACK,
    health_port: options.HealthPort = None,
    log_format: options.LogFormat = "auto",
    log_level: options.LogLevel = "info",
) -> None:
    """Run one destination alone."""
    _run(
        StageSettings(
            stage="destinations",
            dir=str(dir_),
            workspace=_file(dir_, workspace),
            health_host=health_host,
            health_port=health_port,
            clickhouse_port=clickhouse_port,
            only=name,
            log_style=log_format,
            log_level=log_level,
        )
    )


def _file(dir_: Path, given: str | None) -> str:
    from headwater.run.configuration import find

    return str(find(DataDir(dir_), given))


def _run(settings: StageSettings) -> None:
    from headwater.run.child import run

    raise typer.Exit(run(settings))
