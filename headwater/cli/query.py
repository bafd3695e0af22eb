"""`headwater query`: SQL against ClickHouse, the running one or, when nothing runs, the folder itself."""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from typing import Annotated
from urllib.parse import quote

import typer

from headwater.cli import options
from headwater.cli.output import complain, leave
from headwater.paths import DataDir
from headwater.run import exits, files
from headwater.run.settings import LOOPBACK

TIMEOUT_S = 300.0
_CHUNK = 1 << 16


def query(
    *,
    sql: Annotated[str, typer.Argument(help="A SELECT; - reads it from stdin.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="A ClickHouse format. Default: a table on a terminal, else TSVWithNames."
        ),
    ] = None,
    dir_: options.Dir = options.DIR,
    json_: options.Json = False,
) -> None:
    """Ask ClickHouse; reading only."""
    from headwater.cli.reach import running

    data = DataDir(dir_)
    text = sys.stdin.read() if sql == "-" else sql
    if not text.strip():
        leave(
            exits.CONFIG, 'the query is empty; ask for example: headwater query "SHOW TABLES FROM headwater"'
        )
    people = "PrettyCompactMonoBlock" if sys.stdout.isatty() else "TSVWithNames"
    chosen = format_ or ("JSON" if json_ else people)
    up = files.read_up(data)
    if up is not None and up.clickhouse_port is not None:
        raise typer.Exit(_over_http(up.clickhouse_port, text, chosen))
    if not data.clickhouse.is_dir():
        running(data)
        leave(
            exits.NOT_RUNNING, "this workspace has no embedded ClickHouse; ask the server that its url names"
        )
    if files.is_held(files.stage_lock(data, "destinations")):
        leave(
            exits.NOT_RUNNING,
            "the destinations run without a ClickHouse port; start them with --clickhouse-port",
        )
    raise typer.Exit(_in_this_process(data, text, chosen))


def _over_http(port: int, sql: str, chosen: str) -> int:
    connection = HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"/?default_format={quote(chosen)}", sql.encode())
        answer = connection.getresponse()
        if answer.status != 200:
            complain(answer.read().decode("utf-8", "replace").strip())
            return exits.FAILED
        while part := answer.read(_CHUNK):
            sys.stdout.buffer.write(part)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, HTTPException) as error:
        leave(
            exits.NOT_RUNNING, f"ClickHouse on port {port} does not answer: {error}; see `headwater doctor`"
        )
    finally:
        connection.close()
    return exits.OK


def _in_this_process(data: DataDir, sql: str, chosen: str) -> int:
    from headwater.run.sql import answer

    sys.stdout.buffer.write(answer(data, sql, chosen))
    sys.stdout.flush()
    return exits.OK
