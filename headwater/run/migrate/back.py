"""Taking a move back, as long as it has not been completed: what the collector kept meanwhile goes to the old log again."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from headwater.clock import Clock
from headwater.errors import AlreadyRunning, LogError
from headwater.log import moving
from headwater.log.protocol import Entry
from headwater.log.spool_folder import Folder
from headwater.log.spool_store import Group, Store
from headwater.log.sqlite import SqliteLog
from headwater.log.topics import Writer
from headwater.paths import DataDir
from headwater.run import configuration
from headwater.run.migrate import split
from headwater.run.migrate.work import nudge, partitions_of, patiently

COLLECTOR: tuple[Writer, ...] = ("collector",)


async def take_back(data: DataDir, clock: Clock) -> int:
    """Let everything be as before; the number of events that were accepted meanwhile. Raises LogError."""
    move = moving.read(data)
    if move is None:
        raise LogError(f"the log of {data.root} is not being carried anywhere; there is nothing to take back")
    if move.state == "moved":
        raise LogError(
            f"the log of {data.root} is on Kafka, with events that the old one does not have: that cannot be taken back"
        )
    moving.write(data, replace(move, state="returning"))
    nudge(data)
    try:
        events = await _empty_the_spool(data, clock)
    except AlreadyRunning:
        moving.write(data, replace(move, state="copying"))
        nudge(data)
        raise
    moving.forget(data)
    if move.before:
        configuration.remember(Path(move.before), data)
    nudge(data)
    return events


async def _empty_the_spool(data: DataDir, clock: Clock) -> int:
    """The order of a partition is kept: the spool holds what came after everything in the old log."""
    store = Store(Folder(data.spool), 0, clock)
    await patiently(store.open)
    try:
        return 0 if store.empty else await _drain(store, data, clock)
    finally:
        store.close()


async def _drain(store: Store, data: DataDir, clock: Clock) -> int:
    partitions, events = partitions_of(data), 0
    async with SqliteLog(data, clock, writers=COLLECTOR, partitions=partitions) as old:
        while (group := store.group()) is not None:
            await old.append(_entries(group, partitions))
            store.advance(group.until)
            events += group.events
    return events


def _entries(group: Group, partitions: int) -> list[Entry]:
    deal = split.arrivals(partitions)
    return [
        Entry(entry.topic, number, record)
        for entry in group.entries
        for number, record in deal(entry.record, 0, None).items()
    ]
