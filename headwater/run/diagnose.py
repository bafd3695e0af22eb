"""What is wrong with an installation, and what to type: the findings of `headwater doctor`."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from destinations.kit import control
from headwater.errors import ConfigError
from headwater.log import topics
from headwater.log.protocol import Log, TopicPartition
from headwater.log.spool_look import look
from headwater.paths import DataDir
from headwater.run import configuration, files
from headwater.run.disk import free_bytes, in_words
from headwater.run.funnel import Funnel
from headwater.run.ports import PortUnavailable, free_port
from headwater.run.settings import LOOPBACK, STAGES, name_of
from headwater.workspace.model import Limits, Workspace

LAG_S = 60.0
CLOCK_S = 5.0
_LITTLE_BYTES = 1 << 30

Level = Literal["ok", "warning", "problem"]


class Finding(Struct, frozen=True):
    """One thing looked at: how it stands, and what to type where it does not."""

    level: Level
    about: str
    what: str
    do: str = ""


def of_workspace(file: Path, data: DataDir) -> tuple[list[Finding], Workspace | None]:
    """The workspace, and the engine it needs."""
    if not file.exists():
        return [Finding("warning", "workspace", f"there is no {file}", "headwater init")], None
    try:
        workspace = configuration.read(file).workspace
    except ConfigError as error:
        first = error.problems[0]
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        do = f"headwater check {data.option} --workspace {shlex.quote(str(file))}"
        return [Finding("problem", "workspace", f"{first}{more}", do)], None
    found = [Finding("ok", "workspace", f"{file} is valid")]
    if configuration.embedded_clickhouse(workspace):
        if importlib.util.find_spec("chdb") is None:
            what = "a destination uses the embedded ClickHouse, and its engine (chDB) is not installed"
            found.append(Finding("problem", "clickhouse", what, "pip install 'headwater[local]'"))
        else:
            found.append(Finding("ok", "clickhouse", "the engine is installed"))
    return found, workspace


def of_folder(data: DataDir, limits: Limits) -> Iterator[Finding]:
    """Rights and room of the data folder."""
    root = shlex.quote(str(data.root))
    for folder in (data.root, data.log, data.state, data.run, data.clickhouse):
        if not folder.exists() or os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            continue
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            what = f"{folder} is on a file system that is mounted for reading only; a fault of the disk may do that"
            yield Finding("problem", "permissions", what, f"findmnt -T {root}  # and dmesg tells of faults")
            break
        what = f"{folder} cannot be read and written by this user (uid {os.getuid()})"
        yield Finding("problem", "permissions", what, f"sudo chown -R $(id -u):$(id -g) {root}")
    free, least = free_bytes(data.root), limits.disk_free_bytes
    what, look = f"{in_words(free)} free at {data.root}", f"du -sh {root}/*"
    if free < least:
        what += f", less than limits.disk_free_bytes ({in_words(least)}): the collector answers 503"
        yield Finding("problem", "disk", what, f"{look}  # then free space, or lower log.retention_days")
    elif free < least + _LITTLE_BYTES:
        yield Finding("warning", "disk", what, look)
    else:
        yield Finding("ok", "disk", what)


def of_processes(data: DataDir, up: files.Up | None, port: int, clickhouse_port: int) -> Iterator[Finding]:
    """What runs, what should, and what is in the way."""
    if up is not None:
        yield Finding("ok", "processes", f"running with pid {up.pid} at {up.url}")
        for stage in STAGES:
            if not files.is_held(files.stage_lock(data, stage)):
                what = f"the {name_of(stage)} does not run at this moment; the supervisor starts it again"
                yield Finding(
                    "problem", "processes", what, "look at the log of `headwater up` for the reason"
                )
        return
    held = {stage: files.holder_of(files.stage_lock(data, stage)) for stage in STAGES if _held(data, stage)}
    for stage, holder in held.items():
        if holder.supervisor:
            what = (
                f"the {name_of(stage)} (pid {holder.pid}) outlived its supervisor; it leaves within seconds"
            )
            yield Finding(
                "problem", "stale process", what, f"kill -9 {holder.pid}  # if it is still there then"
            )
        else:
            yield Finding("ok", "processes", f"the {name_of(stage)} runs by itself with pid {holder.pid}")
    if held:
        return
    yield Finding("warning", "processes", "nothing runs on this folder", f"headwater up {data.option}")
    for number, option in ((port, "--port"), (clickhouse_port, "--clickhouse-port")):
        try:
            free_port(LOOPBACK, number, option)
        except PortUnavailable as error:
            do = f"headwater up {data.option} {option} {number + 1}"
            yield Finding("problem", "port", str(error), do)


def _held(data: DataDir, stage: Literal["collector", "processor", "destinations"]) -> bool:
    return files.is_held(files.stage_lock(data, stage))


def of_flow(funnel: Funnel, data: DataDir) -> Iterator[Finding]:
    """Lag, dead letters, and whether the books balance."""
    where = data.option
    if not funnel.adds_up:
        what = "the counts do not add up"
        yield Finding("problem", "books", what, f"headwater status {where} --json  # and report it")
    if funnel.in_flight and funnel.lag_seconds > LAG_S:
        what = f"{funnel.in_flight} events wait to be processed, the oldest for {funnel.lag_seconds:.0f} s"
        yield Finding("problem", "lag", what, f"headwater status {where} --watch")
    for name, flow in funnel.destinations.items():
        if flow.lag and flow.lag_seconds > LAG_S:
            what = f"{flow.lag} events wait for {name}, the oldest for {flow.lag_seconds:.0f} s"
            yield Finding("problem", "lag", what, f"headwater status {where} --watch")
        if flow.dead:
            what = f"{flow.dead} events could not be delivered to {name}"
            yield Finding("problem", "dead letters", what, f"headwater dlq list {name} {where}")
        if flow.retrying:
            yield Finding("warning", "retries", f"{flow.retrying} events wait for another attempt at {name}")


async def of_tables(log: Log, workspace: Workspace, data: DataDir) -> list[Finding]:
    """Whether the embedded engine's folder is there, where anything was loaded into it."""
    from destinations.clickhouse.anew import loaded_before

    folder = data.clickhouse
    if folder.is_dir() and any(folder.iterdir()):
        return []
    embedded = configuration.embedded_tables(workspace)
    gone = [name for name in embedded if await loaded_before(log, name)]
    what = (
        f"{folder}, the embedded ClickHouse, is gone though {', '.join(gone)} loaded events into it: the next start makes "
        "it anew and loads all that the log still holds; what is older comes from a backup alone, restored before that"
    )
    do = f"headwater up {data.option}  # where it runs: stop it first; or restore {folder} from a backup"
    return [Finding("problem", "tables", what, do)] if gone else []


def of_spool(data: DataDir, *, collecting: bool, now_ms: int) -> Iterator[Finding]:
    """Acknowledged events that are not in the log yet, and what was damaged among them."""
    try:
        seen = look(data)
    except OSError as error:
        what = f"{data.spool} cannot be read: {error.strerror}"
        yield Finding("problem", "spool", what, f"ls -ld {shlex.quote(str(data.spool))}")
        return
    if seen.bytes:
        waits = f"the oldest for {max(0, now_ms - seen.oldest_ms) / 1000:.0f} s"
        what = f"{seen.bytes} bytes of acknowledged events wait in {data.spool} for the log, {waits}"
        if collecting:
            do = f"headwater status {data.option} --watch  # mend the log; they are drained by themselves"
            yield Finding("warning", "spool", what, do)
        else:
            do = f"headwater collector {data.option}"
            yield Finding("problem", "spool", f"{what}, and no collector runs", do)
    if seen.aside:
        what = f"{len(seen.aside)} files with damaged batches were set aside: acknowledged events were lost"
        do = f"ls -l {shlex.quote(str(data.spool))}/aside  # check the disk; remove them once they are not needed any more"
        yield Finding("problem", "spool", what, do)


async def of_clock(log: Log, now_ms: int) -> Finding:
    """Whether the machine's clock has gone back behind what was already written."""
    newest = 0
    for number in range(log.partitions(topics.ACCEPTED)):
        tp = TopicPartition(topics.ACCEPTED, number)
        bounds = await log.bounds(tp)
        if bounds.end > bounds.begin:
            batch = await log.read(tp, bounds.end - 1)
            newest = max([newest, *(record.timestamp for record in batch.records)])
    ahead = (newest - now_ms) / 1000
    if ahead > CLOCK_S:
        what = f"the clock is {ahead:.0f} s behind the newest event in the log: it was set back"
        return Finding("problem", "clock", what, "timedatectl status")
    return Finding("ok", "clock", "no event is from the future")


def of_metrics(text: str, data: DataDir) -> Iterator[Finding]:
    """What the running processes count: events with write keys that nobody has."""
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        unknown = name.startswith("headwater_rejected_events_total{") and 'code="unknown_source"' in name
        if unknown and float(value):
            what = f"{float(value):.0f} events came with a write key that no source has"
            do = f"headwater check {data.option}  # then compare the keys in the apps"
            yield Finding("warning", "write keys", what, do)


async def of_destinations(data: DataDir) -> list[Finding]:
    """Which running destination does not deliver, and why; nothing where none run."""
    try:
        states = await control.status(data)
    except control.ControlUnavailable:
        return []
    return [_of_destination(state, data) for state in states]


def _of_destination(state: dict[str, Any], data: DataDir) -> Finding:
    name = f"destination {state['destination']}"
    if state["state"] == "running":
        return Finding("ok", name, "delivers")
    what = f"{state['state']}: {state.get('reason', '')}"
    if (probe := state.get("nextProbeSeconds")) is not None:
        what += f"; the next attempt goes in {probe:.0f} s"
    do = f"headwater check {data.option}  # then mend the settings or the other side; events wait"
    return Finding("problem", name, what, do)
