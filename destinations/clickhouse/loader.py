"""Loads the log into ClickHouse: every event once in the base table, whatever is killed whenever.

For each flush: the offsets it will cover are written down with the group's position (the intent), the rows are inserted,
then position, counts, dead letters and the delivery record move in one transaction. A start that finds an intent asks the
table which rows of that stretch it holds and inserts exactly the missing ones.

Any failure of the log ends the session; the next one begins like a start, with the repair.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from destinations.clickhouse import lots as lot
from destinations.clickhouse.allocation import uncollected
from destinations.clickhouse.anew import begin_anew
from destinations.clickhouse.config import Config, spec
from destinations.clickhouse.engine import CLUSTER_SETTINGS, Engine, EngineError, open_embedded, open_server
from destinations.clickhouse.inserter import Inserter, Poison, Stopped, pauser
from destinations.clickhouse.lots import Lot
from destinations.clickhouse.migrate import check_cluster, is_new, let_merge, migrate
from destinations.clickhouse.migrations import Target
from destinations.clickhouse.portions import Portion, Prepared, Preparer, bury, change, lots, outputs
from destinations.clickhouse.pressure import Pressure
from destinations.clickhouse.replicas import Replicas
from destinations.clickhouse.session import Session
from destinations.clickhouse.side import traits_of_row
from destinations.clickhouse.views import Views
from destinations.kit.books import Page
from destinations.kit.select import selection
from headwater.clock import Clock
from headwater.errors import LogError
from headwater.log.protocol import Log, Position
from headwater.metrics import (
    DEAD_EVENTS,
    DELIVERED_EVENTS,
    DELIVERY_SECONDS,
    FILTERED_EVENTS,
)
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace, secret

logger = logging.getLogger(__name__)
T = TypeVar("T")

_LOOK_S = 0.01  # how often it is asked whether a definition has ended
_RESTART_S = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
_VIEWS_S = 5.0  # until views that a server's absence held up are tried again


def open_engine(config: Config, data: DataDir) -> Engine:
    """The engine that the settings name. Raises EngineError."""
    if config.url is None:
        return open_embedded(data.clickhouse)
    return open_server(
        config.url,
        username=config.username,
        password=secret(config.password),
        timeout_s=config.timeout_s,
        ca=config.ca,
        compress=config.compress,
        settings=CLUSTER_SETTINGS if config.cluster else None,
    )


def target_of(config: Config) -> Target:
    """Where the schema goes."""
    return Target(config.database, config.cluster or "")


def replicas_of(config: Config) -> Replicas | None:
    """The cluster that the settings name."""
    if config.cluster is None:
        return None
    return Replicas(config.cluster, config.database, config.insert_quorum, config.timeout_s)


def build(
    name: str, config: Config, live: LiveWorkspace, log: Log, data: DataDir, clock: Clock, engine: Engine
) -> Loader:
    """The loader of one destination; `engine` stays the caller's."""
    return Loader(name, config, live, log, data, clock, engine)


class Loader:
    """One ClickHouse destination of the workspace; run once."""

    def __init__(
        self,
        name: str,
        config: Config,
        live: LiveWorkspace,
        log: Log,
        data: DataDir,
        clock: Clock,
        engine: Engine,
    ) -> None:
        self.name, self.config, self.data = name, config, data
        self._live, self._log, self._clock, self._engine = live, log, clock, engine
        self._halt, self._leave = threading.Event(), threading.Event()
        self._insert_thread = ThreadPoolExecutor(1, f"load-{name}")
        self._row_thread = ThreadPoolExecutor(1, f"rows-{name}")
        self._view_thread = ThreadPoolExecutor(1, f"views-{name}")
        self._target = target_of(config)
        self._replicas = replicas_of(config)
        self.pressure = Pressure(name, config.username)
        self._inserter = Inserter(
            engine, config.database, pauser(self._halt, self._leave), self._replicas, self.pressure.hear
        )
        self.views = Views(engine, self._target, clock, config.max_views)
        self._preparer = Preparer(lot.events(columnar=config.columnar), lambda _: None, filtered=False)
        self._wake_views = asyncio.Event()
        self._ready = False
        self.step = asyncio.Lock()  # held while rows and positions are not of one instant
        self._defining = threading.Lock()  # the same for definitions of views and databases
        live.subscribe(self._reload)

    async def run(self, stop: asyncio.Event) -> None:
        """Load until `stop`; what was read is finished or repaired at the next start."""
        async with asyncio.TaskGroup() as tasks:
            view_maker = tasks.create_task(self._make_views())
            halter = tasks.create_task(self._halt_on(stop))
            try:
                await self._sessions(stop)
            finally:
                view_maker.cancel()
                halter.cancel()
                self._halt.set()
        await asyncio.to_thread(self._row_thread.shutdown)
        await asyncio.to_thread(self._insert_thread.shutdown)
        await asyncio.to_thread(self._view_thread.shutdown)

    async def _halt_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._halt.set()

    async def _sessions(self, stop: asyncio.Event) -> None:
        """One session after another until told to stop; a failure ends a session, never the loader."""
        failures = 0
        while not stop.is_set():
            session = Session(self)
            try:
                await self._prepare_database()
                await session.run(stop)
            except Stopped:
                return
            except (LogError, EngineError) as error:
                pause = _RESTART_S[min(failures, len(_RESTART_S) - 1)]
                failures = 0 if session.flushed else failures + 1
                reason = (
                    self.pressure.hear(error if isinstance(error, EngineError) else None) or str(error)[:500]
                )
                logger.warning("destination %s starts again in %.1f s: %s", self.name, pause, reason)
                if isinstance(error, EngineError):
                    self._ready = False  # what is missing or forbidden may be what was made at the start
                self.pressure.wait(reason)
                await _sleep(pause, stop)
            finally:
                await session.close()

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Between two inserts, with no definition under way; nothing moves while the block runs."""
        async with self.step:
            while not self._defining.acquire(blocking=False):  # noqa: ASYNC110 - a thread has it
                await asyncio.sleep(_LOOK_S)
            try:
                yield
            finally:
                self._defining.release()

    async def _prepare_database(self) -> None:
        async with self.step:
            await self._make_tables()
        self._reload(self._live.current)
        self.pressure.hear(None)

    async def _make_tables(self) -> None:
        if not self._ready:
            if self._replicas is not None:
                await self.work(partial(check_cluster, self._engine, self._replicas))
            if await self._is_new():
                await begin_anew(self._log, self.name, self.config.database, self._is_new)
            await self.work(partial(migrate, self._engine, self._target, self._clock))
            await self.work(partial(let_merge, self._engine, self._target, merges=self.config.merges))
            await self.work(partial(self.views.load, self._live.current.sources))
            self._ready = True

    async def _is_new(self) -> bool:
        return await self.work(partial(is_new, self._engine, self._target, self._replicas))

    def _reload(self, workspace: Workspace) -> None:
        """Take over a workspace: sources, connections and filter."""
        destination = workspace.destinations.get(self.name)
        if destination is None:
            return  # removed: the runtime stops this loader
        self._preparer.filtered = destination.filter is not None
        self._preparer.select = selection(
            self.name, spec, workspace.sources_of(self.name), destination.filter
        )
        if self._ready:
            self._insert_thread.submit(
                self._define, partial(self.views.add_sources, tuple(workspace.sources))
            )
            self._wake_views.set()

    async def work(self, call: Callable[[], T]) -> T:
        """Run a blocking call in the loader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._insert_thread, call)

    def _define(self, define: Callable[[], object]) -> None:
        """Run a definition of views or databases (blocking)."""
        with self._defining:
            define()

    async def make_rows(self, portions: Sequence[Portion]) -> list[Prepared]:
        """Rows of portions, made in a thread of their own beside an insert."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._row_thread, self.prepare, portions)

    def prepare(self, portions: Sequence[Portion]) -> list[Prepared]:
        """Rows of portions (blocking)."""
        now = self._clock.now_ms()
        with uncollected():
            return [self._preparer.prepare(portion, now) for portion in portions]

    def insert(self, prepared: Sequence[Prepared], *, repair: bool) -> None:
        """Insert all rows and store the facts they brought (blocking). Raises Stopped, EngineError."""
        started = self._clock.monotonic()
        token = "/".join(
            [
                self.name,
                *(
                    f"{one.portion.tp.topic}:{one.portion.tp.partition}:{one.portion.begin}"
                    for one in prepared
                ),
            ]
        )
        poison: list[Poison] = []
        self.pressure.ease()
        found = lots(prepared, self._preparer.events)
        for one in found:
            poison += (self._inserter.repair if repair else self._inserter.insert)(one, token)
        bury(prepared, poison, self._clock.now_ms())
        if self.config.views:
            self._learn(prepared, found)
        DELIVERY_SECONDS.labels(self.name).observe(self._clock.monotonic() - started)

    def _learn(self, prepared: Iterable[Prepared], found: Iterable[Lot]) -> None:
        facts = []
        for portion in prepared:
            facts += self.views.discovery.events(portion.samples.values())
        for one in found:
            if one.table.name in ("user_profiles", "account_profiles"):
                kind = one.table.name.removesuffix("_profiles")
                for row in one.rows:
                    facts += self.views.discovery.profile(kind, traits_of_row(row))
        if facts:
            self.views.store(facts)

    async def finish(self, page: Page, prepared: Prepared) -> None:
        """Move position, counts, dead letters and the delivery record together."""
        portion = prepared.portion
        entries = list(outputs(prepared, self.name, self._clock.now_ms()))
        counted = change(prepared, self.name)
        await page.commit(Position(portion.end), entries, counted)
        DELIVERED_EVENTS.labels(self.name).inc(counted.delivered)
        for reason, count in counted.filtered.items():
            FILTERED_EVENTS.labels(self.name, reason).inc(count)
        for letter in prepared.dead.values():
            DEAD_EVENTS.labels(self.name, letter.code).inc()
        self._wake_views.set()

    def give_up(self, *, give_up: bool = True) -> None:
        """Let an insert that waits for ClickHouse end with an error instead; False: wait again from now on."""
        (self._leave.set if give_up else self._leave.clear)()

    def status(self) -> dict[str, Any]:
        """What operators ask: whether it loads, and why not."""
        return {"destination": self.name, **self.pressure.status()}

    @property
    def log(self) -> Log:
        """The log it reads."""
        return self._log

    @property
    def clock(self) -> Clock:
        """Its clock."""
        return self._clock

    async def _make_views(self) -> None:
        """Make views in the background, a few at a time; what came meanwhile is gathered into one definition."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake_views.wait()
            self._wake_views.clear()
            while self.config.views and self._ready and self.views.dirty and not self._halt.is_set():
                try:
                    await loop.run_in_executor(self._view_thread, self._define, self.views.make_some)
                    if not self._engine.embedded:  # a server may have other loaders beside us
                        await self.work(self.views.follow)
                except EngineError as error:
                    logger.warning("views wait: %s", str(error)[:500])
                    await asyncio.sleep(_VIEWS_S)
            await asyncio.sleep(0.3)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    """Until the time is over or `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


__all__ = ["Loader", "build", "open_engine", "target_of"]
