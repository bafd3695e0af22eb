"""Runs the table destinations (ClickHouse), which have their own loader, and the query interface of the embedded engine.

Everything of `destinations.clickhouse` is imported when the first such destination starts: without one, nothing of the
engine is loaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from destinations.kit.pause import Frozen
from headwater.clock import Clock
from headwater.errors import AlreadyRunning, HeadwaterError
from headwater.log.protocol import Log
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Destination, Workspace

if TYPE_CHECKING:
    from destinations.clickhouse.engine import Engine
    from destinations.clickhouse.http import Server
    from destinations.clickhouse.loader import Loader

logger = logging.getLogger(__name__)

LISTEN_S = 5.0  # how often a port that was in use is tried again


class NotFrozen(HeadwaterError):
    """No picture of the tables can be taken now."""


class Tables:
    """The loaders of this process, the engine they share, and its read-only HTTP interface."""

    def __init__(
        self,
        live: LiveWorkspace,
        log: Log,
        data: DataDir,
        clock: Clock,
        port: int | None,
        host: str,
        *,
        must_listen: bool = True,
    ) -> None:
        """With `must_listen` a port in use is an error; without, loading goes on and the port is tried again."""
        self._live, self._log, self._data, self._clock = live, log, data, clock
        self._port, self._host, self._must_listen = port, host, must_listen
        self._retrying: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        self._server: Server | None = None
        self._views: list[
            LiveWorkspace
        ] = []  # one for each running loader, so that a stopped one hears nothing
        self._opening = asyncio.Lock()
        self._loaders: list[Loader] = []
        self._frozen = False
        live.subscribe(self._replace)

    def _replace(self, workspace: Workspace) -> None:
        for view in self._views:
            view.replace(workspace)

    async def prepare(self) -> None:
        """Open the engine and its interface if the workspace needs them. Raises AlreadyRunning: the port is in use.

        Any other failure is left to the destination's own supervision: the other destinations must not wait for it.
        """
        for destination in self._live.current.destinations.values():
            if (
                destination.enabled
                and destination.type == "clickhouse"
                and not destination.options.get("url")
            ):
                try:
                    await self._embedded()
                except AlreadyRunning:
                    raise
                except (HeadwaterError, ImportError) as error:
                    logger.error("the ClickHouse engine does not start yet: %s", error)  # noqa: TRY400
                return

    async def run(
        self, name: str, destination: Destination, stop: asyncio.Event, tell: Callable[[Loader], None]
    ) -> None:
        """Load into one destination until `stop`; `tell` is given its loader, which knows whether it waits."""
        from destinations.clickhouse import loader
        from destinations.clickhouse.config import Config

        config = Config.model_validate(destination.options)
        embedded = config.url is None
        engine = await (
            self._embedded() if embedded else asyncio.to_thread(loader.open_engine, config, self._data)
        )
        view = LiveWorkspace(self._live.current)
        self._views.append(view)
        made = loader.build(name, config, view, self._log, self._data, self._clock, engine)
        self._loaders.append(made)
        try:
            tell(made)
            await made.run(stop)
        finally:
            self._loaders.remove(made)
            self._views.remove(view)
            if not embedded:
                await asyncio.to_thread(engine.close)

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[Frozen]:
        """Hold every loader still, with a picture of the embedded engine. Raises NotFrozen, EngineError."""
        if self._frozen:
            raise NotFrozen("a backup of this folder is being made already; wait for it, or end it")
        self._frozen = True
        try:
            async with AsyncExitStack() as standing:
                for loader in list(self._loaders):
                    await standing.enter_async_context(loader.still())
                picture = None if self._engine is None else await self._picture(self._engine)
                yield Frozen(picture, standing.aclose)
        finally:
            self._frozen = False
            if self._engine is not None:
                await self._forget()

    async def _picture(self, engine: Engine) -> Path:
        from destinations.clickhouse.freeze import freeze

        try:
            return await asyncio.to_thread(freeze, engine, self._data.clickhouse, str(self._clock.now_ms()))
        except OSError as error:
            raise NotFrozen(f"{self._data.clickhouse}: no picture can be taken: {error}") from error

    async def _forget(self) -> None:
        from destinations.clickhouse.freeze import clear

        await asyncio.to_thread(clear, self._data.clickhouse)

    async def _embedded(self) -> Engine:
        """The engine of this process, with its interface listening where a port was given."""
        from destinations.clickhouse.engine import open_embedded

        async with self._opening:
            if self._engine is None:
                self._engine = await asyncio.to_thread(open_embedded, self._data.clickhouse)
            if self._server is None and self._port is not None and self._retrying is None:
                try:
                    await self._listen(self._port)
                except AlreadyRunning as error:
                    if self._must_listen:
                        raise
                    logger.error("%s; events are loaded all the same", error)  # noqa: TRY400 - the message says all
                    self._retrying = asyncio.create_task(self._listen_later(self._port), name="sql port")
            return self._engine

    async def _listen(self, port: int) -> None:
        from destinations.clickhouse import http

        server = await asyncio.to_thread(http.serve, self._data.clickhouse, self._host, port)
        await server.start()
        self._server = server

    async def _listen_later(self, port: int) -> None:
        """Try until the port is free."""
        while self._server is None:
            await asyncio.sleep(LISTEN_S)
            try:
                await self._listen(port)
            except AlreadyRunning as error:
                logger.debug("%s", error)
        logger.info("the ClickHouse interface listens on %s:%d now", self._host, port)

    async def close(self) -> None:
        """Stop the interface, then the engine."""
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.gather(self._retrying, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)
