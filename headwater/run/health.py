"""What a processor or a destination process answers to operators on `--health-port`: alive, ready, and its metrics.

The collector answers the same three paths itself. Being behind does not make a stage unready: a rollout waits for readiness,
and the stage that mends a backlog must not wait for the backlog. The lag is in the answer and in the metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.exposition import CONTENT_TYPE, exposition
from headwater.log.protocol import Log
from headwater.run.ports import listen
from headwater.run.settings import StageSettings
from headwater.serving import Server

_LAG_TIMEOUT_S = 2.0
_KEPT_S = 1.0  # an answer of /ready serves everyone who asks within a second
_GRACE_S = 1  # a scrape that is under way when the stage leaves

Lags = dict[str, dict[str, float]]


class Health:
    """Whether a stage works; what it reads of the log is kept for a second. `groups` maps consumer group to topic."""

    def __init__(
        self, log: Log, clock: Clock, leave: asyncio.Event, groups: Callable[[], Mapping[str, str]]
    ) -> None:
        self._log, self._clock, self._leave, self._groups = log, clock, leave, groups
        self._asked = float("-inf")
        self._lags: Lags = {}
        self._problem: dict[str, str] | None = None

    async def look(self) -> tuple[list[dict[str, str]], Lags]:
        """What keeps the stage from being ready, and for each consumer group its lag in events and seconds."""
        if self._clock.monotonic() - self._asked >= _KEPT_S:
            self._asked = self._clock.monotonic()
            await self._measure()
        found = [self._problem] if self._problem else []
        if self._leave.is_set():
            found.insert(0, {"code": "draining", "message": "the process is shutting down"})
        return found, self._lags

    async def _measure(self) -> None:
        try:
            async with asyncio.timeout(_LAG_TIMEOUT_S):
                self._lags = {group: await self._lag(group, topic) for group, topic in self._groups().items()}
        except (HeadwaterError, OSError, TimeoutError) as error:
            message = f"the log cannot be read: {type(error).__name__}"
            self._problem = {"code": "log_unavailable", "message": message}
        else:
            self._problem = None

    async def _lag(self, group: str, topic: str) -> dict[str, float]:
        lags = await self._log.lag(group, [topic])
        now = self._clock.now_ms()
        age = max(((now - lag.oldest_ms) / 1000 for lag in lags if lag.oldest_ms), default=0.0)
        return {"events": sum(lag.events for lag in lags), "seconds": round(max(0.0, age), 3)}


@contextlib.asynccontextmanager
async def answering(settings: StageSettings, health: Health) -> AsyncIterator[None]:
    """Answer on the port of the settings, if there is one, while the body runs. Raises PortUnavailable."""
    if settings.health_port is None:
        yield
        return
    listening = listen(settings.health_host, settings.health_port, "--health-port", "--health-host")
    server = Server(_configuration(health), lambda: None)
    with listening:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listening]))
            try:
                yield
            finally:
                server.should_exit = True


def _configuration(health: Health) -> uvicorn.Config:
    return uvicorn.Config(
        application(health),
        access_log=False,
        log_config=None,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )


def application(health: Health) -> Starlette:
    """The three paths."""

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        problems, lags = await health.look()
        answer = {"ready": not problems, "reasons": problems, "lag": lags}
        return JSONResponse(answer, 503 if problems else 200, {"cache-control": "no-store"})

    async def metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(exposition), headers={"content-type": CONTENT_TYPE})

    return Starlette(routes=[Route("/health", alive), Route("/ready", ready), Route("/metrics", metrics)])
