"""`headwater doctor`: what is wrong and what to type."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from headwater.cli import options
from headwater.cli.output import console, emit_json
from headwater.clock import SystemClock
from headwater.paths import DataDir
from headwater.run import exits, files
from headwater.run.settings import DEFAULT_CLICKHOUSE_PORT, DEFAULT_PORT

if TYPE_CHECKING:
    from headwater.run.diagnose import Finding
    from headwater.workspace.model import Workspace

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
_TIMEOUT_S = 5.0


def doctor(
    *,
    dir_: options.Dir = options.DIR,
    workspace: options.WorkspaceFile = None,
    port: options.Port = DEFAULT_PORT,
    clickhouse_port: options.ClickhousePort = DEFAULT_CLICKHOUSE_PORT,
    json_: options.Json = False,
) -> None:
    """Look at everything that commonly goes wrong; exits 1 where there is a problem."""
    from headwater.cli.reach import workspace_file

    data = DataDir(dir_)
    findings = _examine(data, workspace_file(data, workspace), port, clickhouse_port)
    if json_:
        emit_json(findings)
    else:
        _show(findings)
    raise typer.Exit(exits.FAILED if any(found.level == "problem" for found in findings) else exits.OK)


def _examine(data: DataDir, file: Path, port: int, clickhouse_port: int) -> list[Finding]:
    from headwater.run import diagnose
    from headwater.workspace.model import Limits

    up = files.read_up(data)
    findings, workspace = diagnose.of_workspace(file, data)
    findings += diagnose.of_folder(data, workspace.limits if workspace else Limits())
    findings += diagnose.of_processes(data, up, port, clickhouse_port)
    collecting = files.is_held(files.stage_lock(data, "collector"))
    findings += diagnose.of_spool(data, collecting=collecting, now_ms=SystemClock().now_ms())
    if data.log.is_dir():
        findings += asyncio.run(_flow(data, file, workspace))
    if up is not None:
        findings += _answers(up, data)
        findings += asyncio.run(diagnose.of_destinations(data))
    return findings


async def _flow(data: DataDir, file: Path, workspace: Workspace | None) -> list[Finding]:
    from headwater.cli.reach import log_of, outline_of
    from headwater.run import diagnose
    from headwater.run.funnel import funnel

    outline = outline_of(data, str(file))
    async with log_of(data, outline) as log:
        now = SystemClock().now_ms()
        found = [*diagnose.of_flow(await funnel(log, outline.destinations, now), data)]
        if workspace is not None:
            found += await diagnose.of_tables(log, workspace, data)
        return [*found, await diagnose.of_clock(log, now)]


def _answers(up: files.Up, data: DataDir) -> list[Finding]:
    from headwater.run.diagnose import Finding, of_metrics

    findings = []
    try:
        status, body = _get(f"{up.url}/ready")
        if status == 200:
            findings.append(Finding("ok", "collector", "takes events"))
        else:
            what = f"the collector is not ready: {status} {body[:200]}"
            findings.append(Finding("problem", "collector", what, f"curl -s {up.url}/ready"))
        findings += of_metrics(_get(f"{up.url}/metrics")[1], data)
        if up.clickhouse_url is not None:
            _get(f"{up.clickhouse_url}/ping")
            findings.append(Finding("ok", "clickhouse", f"answers at {up.clickhouse_url}"))
    except (OSError, HTTPException) as error:
        what = f"{', '.join(filter(None, (up.url, up.clickhouse_url)))}: no answer from one of these: {error}"
        findings.append(Finding("problem", "answers", what, "look at the log of `headwater up`"))
    return findings


def _get(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", "replace")


def _show(findings: list[Finding]) -> None:
    out = console()
    for found in findings:
        out.print(f"{found.level:<8}", style=_COLOURS[found.level], end="")
        out.print(f"{found.about}: {found.what}", soft_wrap=True)
        if found.do:
            out.print(f"        type: {found.do}", soft_wrap=True)
