"""The move from beginning to end: check, let the stages change over, copy, cut over. Every part may be run again.

The note in the folder (`headwater.log.moving`) is what everybody goes by. While it says `copying`, the SQLite files do not
change: the collector keeps what it accepts in its spool, and drains it to Kafka behind the copy once the note says `moved`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from msgspec.structs import replace

from headwater.clock import Clock
from headwater.errors import AlreadyRunning, LogError, LogUnavailable
from headwater.log import moving
from headwater.log.kafka import KafkaLog
from headwater.log.lock import FileLock
from headwater.log.moving import Move
from headwater.log.protocol import Log, TopicPartition
from headwater.log.retention import DAY_S, Policy, folded_s
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.sqlite_reader import Reader
from headwater.log.topics import ACCEPTED, DESTINATION_GROUP_PREFIX, PROCESSED, PROCESSOR_GROUP
from headwater.paths import DataDir
from headwater.run import configuration, files
from headwater.run.migrate import cargo, copying
from headwater.run.migrate.cargo import Load
from headwater.workspace.model import KafkaLogSettings, Workspace

CHANGE_S = 90.0  # the stages leave one after another, each within the supervisor's bound
LOOK_S = 0.1
T = TypeVar("T")

Begin = Callable[
    [str, int], Callable[[int], None]
]  # what is copied, and how many offsets; takes what was done


@dataclass(frozen=True, slots=True)
class Order:
    """Which folder goes where. `settings` is the `log` of the new workspace, `before` the old workspace's file."""

    data: DataDir
    file: Path
    workspace: Workspace
    settings: KafkaLogSettings
    before: Path | None = None


@dataclass(slots=True)
class Outcome:
    """What was, or would be, carried: events of each topic, and the destinations that stay behind."""

    state: str
    partitions: int
    events: dict[str, int] = field(default_factory=dict)
    left_behind: list[str] = field(default_factory=list)


async def migrate(order: Order, clock: Clock, begin: Begin) -> Outcome:
    """Carry the log over. Raises LogError where it cannot be; a move that has not begun is then taken back."""
    move = moving.read(order.data)
    fresh = move is None
    if move is not None and move.state == "moved":
        raise LogError(
            f"the log of {order.data.root} was carried to Kafka before; start with --workspace {move.workspace}"
        )
    if move is None:
        await look(order, clock)
        move = _first_note(order, clock)
    moving.write(order.data, replace(move, state="copying"))
    try:
        nudge(order.data)
        async with the_writers(order.data):
            return await _carry(order, move, clock, begin)
    except NotBegun:
        if fresh:
            from headwater.run.migrate.back import take_back

            await take_back(order.data, clock)
        raise


class NotBegun(LogError):
    """Something stands in the way before the first event was copied; everything is as it was."""


def _first_note(order: Order, clock: Clock) -> Move:
    return Move(
        id=uuid4().hex,
        state="copying",
        workspace=str(order.file),
        before=str(order.before or ""),
        topic_prefix=order.settings.topic_prefix,
        partitions=order.settings.partitions,
        destinations=_carried(order),
        began_ms=clock.now_ms(),
    )


async def _carry(order: Order, move: Move, clock: Clock, begin: Begin) -> Outcome:
    log_ids = [move.log_id(number) for number in range(move.partitions)]
    outcome = Outcome("moved", move.partitions, left_behind=_left_behind(order, move.destinations))
    async with opened(order.data, clock) as old, kafka(order, clock) as new:
        if open_ := await cargo.intents(old, move.destinations):
            raise NotBegun(
                f"destination {', '.join(open_)} was ended in the middle of an insert, which only the log it read can end: "
                "start the old workspace, let it load (`headwater status`), and try again"
            )
        for load in await _loads(old, move):
            outcome.events[load.topic] = await copying.copy(
                old, new, load, move.id, begin(load.topic, load.records)
            )
        counts = await cargo.counts(old, log_ids)
        await copying.write_counts(new, counts, await cargo.books(old, move.destinations, log_ids))
        moving.write(order.data, replace(move, state="moved", ended_ms=clock.now_ms()))
        configuration.remember(order.file, order.data)
        nudge(order.data)
        with contextlib.suppress(LogUnavailable):  # a group without members: it expires by itself
            await new.forget_group(copying.GROUP)
    return outcome


async def _loads(old: Log, move: Move) -> list[Load]:
    try:
        return await cargo.loads(old, move.destinations, move.partitions)
    except LogError as error:
        raise NotBegun(str(error)) from error


@contextlib.contextmanager
def alone(data: DataDir) -> Iterator[None]:
    """Be the only such command on the folder. Raises AlreadyRunning."""
    lock = files.acquire(data.run / "migrate.lock", f"a migration of {data.root}", files.Holder(os.getpid()))
    try:
        yield
    finally:
        lock.release()


async def look(order: Order, clock: Clock) -> Outcome:
    """Whether the log can be carried, and what there is, without changing anything. Raises LogError."""
    if not order.data.log.is_dir():
        raise LogError(f"{order.data.log}: there is no log of one machine here; see --dir")
    up = files.read_up(order.data)
    if up is not None and Path(up.workspace) == order.file:
        raise LogError(
            f"{order.data.root} runs on {order.file} already: its events are on Kafka, and those of the old log would come "
            "behind them; stop it, choose a log.topic_prefix of which no topics exist, and start with the old workspace"
        )
    if order.settings.spool_bytes == 0 and up is not None:
        raise LogError(
            "log.spool_bytes is 0: the collector keeps what it accepts in its spool meanwhile; give it room"
        )
    names = _carried(order)
    outcome = Outcome("possible", order.settings.partitions, left_behind=_left_behind(order, names))
    async with opened(order.data, clock) as old:
        for load in await cargo.loads(old, names, order.settings.partitions):
            outcome.events[load.topic] = load.records
        await _young_enough(order, old, names, clock)
    await _is_empty(order, clock)
    return outcome


async def _young_enough(order: Order, old: SqliteLog, names: list[str], clock: Clock) -> None:
    """Raises LogError where Kafka would remove events before they are read: it keeps none for a reader that is late."""
    oldest_ms = clock.now_ms() - int(order.settings.retention_days * DAY_S * 1000)
    readers = [(PROCESSOR_GROUP, ACCEPTED), *((DESTINATION_GROUP_PREFIX + name, PROCESSED) for name in names)]
    for group, topic in readers:
        for lag in await old.lag(group, [topic]):
            if lag.events and 0 < lag.oldest_ms < oldest_ms:
                raise LogError(
                    f"{group} has yet to read events of {topic} that are older than log.retention_days "
                    f"({order.settings.retention_days:g}) of {order.file}, and Kafka keeps none longer: raise it"
                )


async def _is_empty(order: Order, clock: Clock) -> None:
    """Raises LogError where topics do not fit or hold something that nobody knows of here."""
    from headwater.run.live import kafka_topics

    found = kafka_topics(order.workspace)
    assert found is not None, "the log of the new workspace is on Kafka"
    topics, names = found
    changes = await topics.plan(names)
    if refused := [change for change in changes if change.kind == "refuse"]:
        raise LogError("; ".join(f"topic {change.topic} {change.what}" for change in refused))
    missing = {change.topic for change in changes if change.kind == "create"}
    prefix = order.settings.topic_prefix
    async with KafkaLog(order.settings, clock) as new:
        for name in (name for name in names if prefix + name not in missing):
            for number in range(new.partitions(name)):
                if (await new.bounds(TopicPartition(name, number))).end:
                    raise LogError(
                        f"topic {prefix}{name} is not empty: it is another installation's, or of an earlier attempt; choose "
                        "another log.topic_prefix, or delete the topics"
                    )


def _carried(order: Order) -> list[str]:
    """The destinations of the new workspace that the old log knows."""
    return [name for name in order.workspace.destinations if name in _known(order.data)]


def _left_behind(order: Order, names: list[str]) -> list[str]:
    return sorted(_known(order.data) - set(names))


def _known(data: DataDir) -> set[str]:
    reader = Reader(data.log / "destinations.db")
    try:
        groups = {need.group for need in reader.needs() or ()}
    finally:
        reader.close()
    prefix = DESTINATION_GROUP_PREFIX
    return {group.removeprefix(prefix) for group in groups if group.startswith(prefix)}


def partitions_of(data: DataDir) -> int:
    """How many partitions the log of the folder was made for."""
    for name in WRITERS:
        reader = Reader(data.log / f"{name}.db")
        try:
            if (stored := reader.setting("partitions")) is not None:
                return int(str(stored))
        finally:
            reader.close()
    raise LogError(f"{data.log}: there is no log of one machine here; see --dir")


def opened(data: DataDir, clock: Clock) -> SqliteLog:
    """The old log, for reading."""
    return SqliteLog(data, clock, partitions=partitions_of(data))


def kafka(order: Order, clock: Clock) -> KafkaLog:
    """The new log; missing topics are made."""
    settings, window = order.settings, order.workspace.processors.dedupe.window_days
    policy = Policy(settings.retention_days * DAY_S, settings.retention_bytes, folded_s(window))
    return KafkaLog(settings, clock, policy=lambda: policy)


def nudge(data: DataDir) -> None:
    """Let a supervisor that runs on the folder look at the note now."""
    if (up := files.read_up(data)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(up.pid, signal.SIGHUP)


@contextlib.asynccontextmanager
async def the_writers(data: DataDir) -> AsyncIterator[None]:
    """Be the only one who may write the SQLite files. Raises NotBegun where their writers do not leave."""
    locks = [FileLock(data.log / f"{name}.lock", name) for name in WRITERS]
    with contextlib.ExitStack() as held:
        for lock in locks:
            try:
                await patiently(lock.acquire)
            except AlreadyRunning as error:
                raise NotBegun(
                    f"{error}. A stage that `headwater up` did not start has to be stopped by hand; a supervisor that does "
                    "not change over says why in its log (it reads the new workspace with its own environment)"
                ) from error
            held.callback(lock.release)
        yield


async def patiently(take: Callable[[], T]) -> T:
    """Take something that another process is about to let go. Raises AlreadyRunning when it does not."""
    give_up = asyncio.get_running_loop().time() + CHANGE_S
    while True:
        try:
            return take()
        except AlreadyRunning:
            if asyncio.get_running_loop().time() > give_up:
                raise
        await asyncio.sleep(LOOK_S)
