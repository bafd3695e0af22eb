"""Options that several commands share: the same option has the same name, default and meaning everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from headwater.paths import DEFAULT_DIR

Dir = Annotated[Path, typer.Option("--dir", envvar="HEADWATER_DIR", help="Folder that holds all data.")]
DIR = DEFAULT_DIR
WorkspaceFile = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        envvar="HEADWATER_WORKSPACE",
        help="Workspace file. Default: ./headwater.yaml, else what --dir last ran with, or holds.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
Host = Annotated[str, typer.Option("--host", envvar="HEADWATER_HOST", help="Address to listen on.")]
Port = Annotated[
    int,
    typer.Option(
        "--port", envvar="HEADWATER_PORT", min=0, max=65535, help="Port to listen on; 0 for any free one."
    ),
]
HealthHost = Annotated[
    str,
    typer.Option("--health-host", envvar="HEADWATER_HEALTH_HOST", help="Address that --health-port is on."),
]
HealthPort = Annotated[
    int | None,
    typer.Option(
        "--health-port",
        envvar="HEADWATER_HEALTH_PORT",
        min=1,
        max=65535,
        help="Port to answer /health, /ready and /metrics on; none by default.",
    ),
]
ClickhousePort = Annotated[
    int,
    typer.Option(
        "--clickhouse-port",
        envvar="HEADWATER_CLICKHOUSE_PORT",
        min=0,
        max=65535,
        help="Port of loopback where the embedded ClickHouse answers, read-only; 0 for any free one.",
    ),
]
LogFormat = Annotated[
    Literal["auto", "human", "json"],
    typer.Option("--log-format", envvar="HEADWATER_LOG_FORMAT", help="auto: human on a terminal, else json."),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    typer.Option("--log-level", envvar="HEADWATER_LOG_LEVEL", help="The least severe line that is logged."),
]
