"""A backup of one machine's data while everything runs: log, ClickHouse and workspace of one instant, checked and whole.

The running destinations hold their loaders still while the log files are pinned and the tables are pictured by hard links
(`destinations.kit.pause`): rows and positions are of one instant, so that a restored loader neither misses nor repeats
any. Everything else goes on. Then the copies are made at leisure, below another name, and the folder gets its own name only
when it is whole. The processors' state is not copied: it is a fold of the log.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from destinations.kit import control
from headwater import __version__, timestamps
from headwater.clock import Clock
from headwater.errors import AlreadyRunning, HeadwaterError
from headwater.log import topics
from headwater.log.open import open_log
from headwater.log.sqlite_copy import Pinned, pinned
from headwater.paths import WORKSPACE_FILE, DataDir
from headwater.run import files, manifest
from headwater.run.copying import Rate, copy, described, files_below, sync_folders
from headwater.run.disk import free_bytes
from headwater.run.funnel import latest
from headwater.run.manifest import File, Manifest
from headwater.workspace.outline import Outline

ANSWER_S = 60.0  # a destinations process that starts again has this long
SPARE_BYTES = 64 << 20  # left free on the target's disk
_LOOK_S = 0.2
_LOCK = ".lock"
_SPOOL = "spool"  # of the collector, in the data folder
_PASSING = frozenset(("shadow", "tmp", "data", "status"))  # of ClickHouse's folder: made anew by the engine

STATE = "rebuilt from the log before the first event is processed"
SECRETS = "${NAME} and file: values of the workspace stay where they are"
TOPICS = "topics and positions are the Kafka cluster's: keep them by replication, or copy the cluster with MirrorMaker 2"
BEHIND = "its positions are in Kafka, which this backup would be older than; use a ClickHouse server, and its BACKUP"
SERVER = "tables of a ClickHouse server are backed up there: BACKUP DATABASE"

Begin = Callable[[int], None]  # how many bytes there will be to copy


class CannotBackUp(HeadwaterError):
    """A backup that cannot be made, with the reason."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be copied where. `bytes_s` bounds the rate (0: no bound)."""

    data: DataDir
    outline: Outline
    workspace: Path
    folder: Path
    bytes_s: int


@dataclass(frozen=True, slots=True)
class _Still:
    """ClickHouse's folder or its picture (None without one), and what lets the loaders go on."""

    clickhouse: Path | None
    go_on: Callable[[], None]


async def back_up(order: Order, clock: Clock, begin: Begin, report: Callable[[int], None]) -> Manifest:
    """Make the backup; what its manifest says. Raises CannotBackUp, AlreadyRunning, ControlUnavailable, LogError."""
    target = order.folder.absolute()
    refuse_occupied(target, "back up to")
    draft, lock = _draft(target)
    fill = _fill_of_cluster if order.outline.log.type == "kafka" else _fill
    try:
        made = await fill(order, draft, clock, begin, report)
        await asyncio.to_thread(_finish, draft, target, made)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CannotBackUp(f"{target}: cannot be made: {error}; mend that and do it again") from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finally:
        lock.release()
    return made


def refuse_occupied(target: Path, what: str) -> None:
    """Raises CannotBackUp for a folder that holds something, or that cannot be replaced as a whole."""
    if target.is_dir() and any(target.iterdir()):
        raise CannotBackUp(f"{target}: is not empty; {what} a folder that is empty or does not exist yet")
    if target.is_mount() or (target.exists() and not target.is_dir()):
        raise CannotBackUp(f"{target}: is a mount point or no folder; {what} a folder below it")


def _draft(target: Path) -> tuple[Path, files.Lock]:
    """The folder under another name, emptied of what an interrupted backup left, and its lock."""
    draft = target.with_name(target.name + ".partial")
    draft.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = files.acquire(draft / _LOCK, f"a backup to {target}", files.Holder(os.getpid()))
    for found in draft.iterdir():
        if found.is_dir():
            shutil.rmtree(found)
        elif found.name != _LOCK:
            found.unlink()
    return draft, lock


async def _fill(
    order: Order, draft: Path, clock: Clock, begin: Begin, report: Callable[[int], None]
) -> Manifest:
    created = timestamps.iso(clock.now_ms())
    log_id = await _log_id(order)
    async with AsyncExitStack() as stack:
        still = await _hold_still(stack, order.data)
        logs = stack.enter_context(pinned(order.data.log))
        still.go_on()
        positions = [one.positions() for one in logs]
        total = sum(one.bytes for one in logs) + _size(still.clickhouse)
        _check_space(draft, total)
        begin(total)
        rate = Rate(order.bytes_s, report)
        found = await asyncio.to_thread(_copy_all, logs, still.clickhouse, draft, rate)
    left_out = {"state": STATE, "secrets": SECRETS}
    parts = ["log"]
    if still.clickhouse is not None:
        parts.append("clickhouse")
    elif "clickhouse" in order.outline.destinations.values():
        left_out["clickhouse"] = SERVER
    _add_workspace(order, draft, found, parts, left_out)
    return Manifest(
        headwater=__version__,
        created=created,
        log="sqlite",
        log_id=log_id,
        parts=parts,
        left_out=left_out,
        positions=positions,
        files=found,
    )


async def _fill_of_cluster(
    order: Order, draft: Path, clock: Clock, begin: Begin, report: Callable[[int], None]
) -> Manifest:
    """What one host of a cluster holds that is nowhere else: the spool of events that Kafka has not taken yet."""
    created, found, parts = timestamps.iso(clock.now_ms()), list[File](), list[str]()
    left_out = {"log": TOPICS, "state": STATE, "secrets": SECRETS}
    if "clickhouse" in order.outline.destinations.values():
        left_out["clickhouse"] = SERVER if not order.data.clickhouse.is_dir() else BEHIND
    spool = order.data.root / _SPOOL
    if spool.is_dir():
        total = sum(path.stat().st_size for path in spool.rglob("*") if path.is_file())
        _check_space(draft, total)
        begin(total)
        found += await asyncio.to_thread(_copy_spool, spool, draft, Rate(order.bytes_s, report))
        parts.append("spool")
    _add_workspace(order, draft, found, parts, left_out)
    return Manifest(
        headwater=__version__, created=created, log="kafka", parts=parts, left_out=left_out, files=found
    )


def _copy_spool(spool: Path, draft: Path, rate: Rate) -> list[File]:
    """Copy the spool while it is written and drained: what Kafka takes meanwhile, dedupe finds when it comes again."""
    made: list[File] = []
    for path in files_below(spool):
        target = Path(_SPOOL) / path
        try:
            checksum = copy(spool / path, draft / target, rate)
        except FileNotFoundError:  # drained meanwhile
            continue
        made.append(File(target.as_posix(), (draft / target).stat().st_size, checksum))
    return made


def _add_workspace(
    order: Order, draft: Path, found: list[File], parts: list[str], left_out: dict[str, str]
) -> None:
    if not order.workspace.is_file():
        left_out["workspace"] = f"{order.workspace} does not exist"
        return
    unbounded = Rate(0, lambda _: None)
    copy(order.workspace, draft / WORKSPACE_FILE, unbounded)
    found.append(described(draft, Path(WORKSPACE_FILE), unbounded))
    parts.append("workspace")


async def _log_id(order: Order) -> str:
    """The log's own id, empty while nothing was processed."""
    async with open_log(order.outline.log, order.data, None) as log:
        values = (await latest(log, topics.TOTALS)).values()
    return next((str(msgspec.json.decode(value).get("log", "")) for value in values), "")


async def _hold_still(stack: AsyncExitStack, data: DataDir) -> _Still:
    """Until the stack is closed: the running loaders' picture, or the folder of destinations that do not run."""
    give_up = time.monotonic() + ANSWER_S
    while True:
        try:
            picture, go_on = await stack.enter_async_context(control.frozen(data))
        except control.ControlUnavailable:
            if (stopped := _if_stopped(stack, data)) is not None:
                return stopped
            if time.monotonic() > give_up:
                raise
            await asyncio.sleep(_LOOK_S)
        else:
            if picture is not None:  # the destinations remove it, unless they are killed before we are done
                stack.callback(shutil.rmtree, picture, ignore_errors=True)
            return _Still(picture, go_on)


def _if_stopped(stack: AsyncExitStack, data: DataDir) -> _Still | None:
    """The folder itself, kept from destinations that would start; None where they run or are about to."""
    if files.is_held(files.up_lock(data)):
        return None
    try:
        lock = files.acquire(
            files.stage_lock(data, "destinations"), "destinations", files.Holder(os.getpid())
        )
    except AlreadyRunning:
        return None
    stack.callback(lock.release)
    return _Still(data.clickhouse if data.clickhouse.is_dir() else None, lambda: None)


def _clickhouse_files(folder: Path) -> Iterator[Path]:
    return (path for path in files_below(folder) if path.parts[0] not in _PASSING)


def _size(folder: Path | None) -> int:
    if folder is None:
        return 0
    return sum((folder / path).stat().st_size for path in _clickhouse_files(folder))


def _check_space(folder: Path, wanted: int) -> None:
    if (free := free_bytes(folder)) < wanted + SPARE_BYTES:
        raise CannotBackUp(
            f"{folder.parent}: {wanted} bytes are to be copied and {SPARE_BYTES} to stay free, {free} are free; "
            "make space, or name a folder on another disk"
        )


def _copy_all(logs: list[Pinned], clickhouse: Path | None, draft: Path, rate: Rate) -> list[File]:
    """Copy and describe, log first: its files grow while they are pinned."""
    made: list[File] = []
    (draft / "log").mkdir()
    for one in logs:
        path = Path("log", one.path.name)
        one.copy(draft / path, rate.passed)
        one.close()
        made.append(described(draft, path, Rate(0, lambda _: None)))
    for path in _clickhouse_files(clickhouse) if clickhouse else ():
        target = Path("clickhouse") / path
        checksum = copy(clickhouse / path, draft / target, rate) if clickhouse else ""
        made.append(File(target.as_posix(), (draft / target).stat().st_size, checksum))
    return made


def _finish(draft: Path, target: Path, made: Manifest) -> None:
    manifest.write(draft, made)
    (draft / _LOCK).unlink()
    sync_folders(draft)
    draft.rename(target)
    sync_folders(target)
