"""The destinations process: one supervised delivery for each enabled destination, kept equal to the workspace.

A change of the workspace starts what is new, stops what is gone and starts again only what differs. A delivery that fails
is started again after a pause that doubles; the others do not notice.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from destinations.kit.control import serve_control
from destinations.kit.delivery import Delivery
from destinations.kit.registry import TABLES, configure, select_for
from destinations.kit.tables import Tables
from headwater.clock import Clock
from headwater.log.protocol import Log
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Destination, Workspace

if TYPE_CHECKING:
    from destinations.clickhouse.loader import Loader

logger = logging.getLogger(__name__)

RESTART_S, RESTART_CAP_S = 1.0, 60.0


@dataclass(slots=True)
class Running:
    """A destination under supervision."""

    name: str
    fingerprint: str  # what its delivery was made from
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    delivery: Delivery | Loader | None = None
    error: str = ""  # why the last run ended, while it waits to be started again
    restarts: int = 0

    def status(self) -> dict[str, Any]:
        """State, reason and restarts."""
        found = {"destination": self.name, "state": "running"}
        if self.delivery is not None:
            found = self.delivery.status()
        if self.error:
            found |= {"state": "failed", "reason": self.error}
        return {**found, "restarts": self.restarts}


class Fleet:
    """All deliveries of the process."""

    def __init__(
        self, live: LiveWorkspace, log: Log, clock: Clock, tables: Tables, restart_s: float = RESTART_S
    ) -> None:
        self._live, self._log, self._clock, self._tables = live, log, clock, tables
        self._restart_s = restart_s
        self._changed = asyncio.Event()
        self.running: dict[str, Running] = {}
        live.subscribe(lambda _: self._changed.set())

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the deliveries equal to the workspace until `stop`, then stop them all."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._changed.clear()
                await self._reconcile(self._live.current)
                changing = asyncio.create_task(self._changed.wait())
                await asyncio.wait({stopping, changing}, return_when=asyncio.FIRST_COMPLETED)
                changing.cancel()
        finally:
            stopping.cancel()
            await self._stop(list(self.running.values()))

    async def _reconcile(self, workspace: Workspace) -> None:
        wanted = {
            name: fingerprint(workspace, name)
            for name, destination in workspace.destinations.items()
            if destination.enabled
        }
        await self._stop([r for r in self.running.values() if wanted.get(r.name) != r.fingerprint])
        for name in wanted.keys() - self.running.keys():
            entry = Running(name, wanted[name])
            entry.task = asyncio.create_task(self._supervise(entry), name=f"destination {name}")
            self.running[name] = entry

    async def _stop(self, entries: list[Running]) -> None:
        for entry in entries:
            entry.stop.set()
        tasks = [entry.task for entry in entries if entry.task is not None]
        try:
            await asyncio.gather(*tasks)
        finally:
            for entry in entries:
                self.running.pop(entry.name, None)

    async def _supervise(self, entry: Running) -> None:
        pause = self._restart_s
        while not entry.stop.is_set():
            began = self._clock.monotonic()
            try:
                await self._deliver(entry)
            except Exception as error:
                if self._clock.monotonic() - began > RESTART_CAP_S:
                    pause = self._restart_s
                entry.error, entry.restarts = reason_of(error), entry.restarts + 1
                logger.exception("destination %s failed; starting again in %.1f s", entry.name, pause)
                await _either(entry.stop, pause)
                pause = min(RESTART_CAP_S, pause * 2)

    async def _deliver(self, entry: Running) -> None:
        workspace = self._live.current
        destination = workspace.destinations[entry.name]
        entry.delivery = None
        if destination.type in TABLES:
            entry.error = ""

            def tell(loader: Loader) -> None:
                entry.delivery = loader

            await self._tables.run(entry.name, destination, entry.stop, tell)
            return
        configured = configure(destination)
        select = select_for(workspace, entry.name, configured)
        entry.delivery = delivery = Delivery(entry.name, configured, select, self._log, self._clock)
        entry.error = ""
        await delivery.run(entry.stop)


def fingerprint(workspace: Workspace, name: str) -> str:
    """Text that differs exactly when the destination must be started again."""
    destination: Destination = workspace.destinations[name]
    if destination.type in TABLES:
        return repr(
            (destination.type, sorted(destination.options.items(), key=str))
        )  # the rest it reloads itself
    return repr((destination.model_dump(), sorted(workspace.sources_of(name))))


def reason_of(error: BaseException) -> str:
    """The first cause inside an exception group, as one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


async def _either(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def run(
    live: LiveWorkspace,
    log: Log,
    data: DataDir,
    clock: Clock,
    stop: asyncio.Event,
    clickhouse_port: int | None = None,
    host: str = "127.0.0.1",
    *,
    must_listen: bool = True,
) -> None:
    """Deliver to every enabled destination until `stop`; finish what is under way, then return.

    `clickhouse_port` None serves no query interface. With `must_listen` a port in use raises AlreadyRunning; without, it is
    logged and tried again while everything else goes on.
    """
    tables = Tables(live, log, data, clock, clickhouse_port, host, must_listen=must_listen)
    fleet = Fleet(live, log, clock, tables)
    try:
        await tables.prepare()
        async with serve_control(
            data, log, live, clock, lambda: [r.status() for r in fleet.running.values()], tables
        ):
            await fleet.run(stop)
    finally:
        await tables.close()
