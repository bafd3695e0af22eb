"""What operators and load balancers ask: alive, ready, and the metrics of all processes."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Response

from collector.codes import REFUSALS
from collector.ingest import Ingest
from collector.replies import json_reply
from collector.routes.ingest import to_response
from headwater.errors import HeadwaterError
from headwater.exposition import CONTENT_TYPE, exposition
from headwater.log import topics
from headwater.log.spool import SpooledLog, SpoolState

_LAG_TIMEOUT_S = 2.0
_KEPT_S = 1.0  # an answer of /ready serves everyone who asks within a second


class Readiness:
    """Whether events can be taken; the answer is kept for a second."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._asked = float("-inf")
        self._problems: list[dict[str, str]] = []
        self._lag: dict[str, float] = {}

    async def problems(self) -> tuple[list[dict[str, str]], dict[str, float]]:
        """What keeps us from being ready, and the processor's lag in events and seconds."""
        now = self._ingest.clock.monotonic()
        if now - self._asked >= _KEPT_S:
            self._asked = now
            self._problems = await self._look()
        return self._problems, self._lag

    async def _look(self) -> list[dict[str, str]]:
        found = []
        if (code := self._ingest.may_write()) is not None:
            found.append({"code": code, "message": REFUSALS[code].meaning})
        elif (spool := self.spool()) is not None:
            if spool.refusing:
                found.append({"code": "log_unavailable", "message": spool.refusing})
        elif not self._ingest.writer.healthy:
            found.append({"code": "log_unavailable", "message": "the last append to the log failed"})
        if (behind := await self._behind()) is not None:
            found.append({"code": "processor_lag", "message": behind})
        return found

    def spool(self) -> SpoolState | None:
        """How the spool stands, where the log has one: while it has room, a log that is away keeps nobody away."""
        log = self._ingest.log
        return log.state if isinstance(log, SpooledLog) else None

    async def _behind(self) -> str | None:
        if not (limit := self._ingest.live.current.limits.ready_lag_s):
            self._lag = {}
            return None
        try:
            async with asyncio.timeout(_LAG_TIMEOUT_S):
                lags = await self._ingest.log.lag(topics.PROCESSOR_GROUP, [topics.ACCEPTED])
        except (HeadwaterError, OSError, TimeoutError) as error:
            if (spool := self.spool()) is not None and spool.spooling:
                return None
            return f"the processor's lag cannot be read: {type(error).__name__}"
        now = self._ingest.clock.now_ms()
        age = max(((now - lag.oldest_ms) / 1000 for lag in lags if lag.oldest_ms), default=0.0)
        self._lag = {"events": sum(lag.events for lag in lags), "seconds": round(max(0.0, age), 3)}
        if age <= limit:
            return None
        return f"the oldest unprocessed event is {age:.0f} s old; limits.ready_lag_s is {limit:g}"


def declare(web: FastAPI, ingest: Ingest) -> None:
    """Add the routes."""
    readiness = Readiness(ingest)
    ok = {"description": "Yes", "content": {"application/json": {"schema": {"type": "object"}}}}
    no = {"description": "No, and why", "content": {"application/json": {"schema": {"type": "object"}}}}

    async def health() -> Response:
        return to_response(json_reply({"status": "ok"}))

    async def ready() -> Response:
        problems, lag = await readiness.problems()
        answer: dict[str, object] = {"ready": not problems, "reasons": problems, "processorLag": lag}
        if (spool := readiness.spool()) is not None:
            answer["spool"] = {"bytes": spool.bytes, "oldestSeconds": round(spool.oldest_s, 3)}
        return to_response(json_reply(answer, 503 if problems else 200, (b"cache-control", b"no-store")))

    async def metrics() -> Response:
        ingest.tally.flush()
        text = await asyncio.to_thread(exposition)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    web.add_api_route(
        "/health",
        health,
        methods=["GET"],
        summary="Is the process alive",
        tags=["operation"],
        responses={200: ok},
        operation_id="health",
    )
    web.add_api_route(
        "/ready",
        ready,
        methods=["GET"],
        summary="Can events be taken",
        tags=["operation"],
        responses={200: ok, 503: no},
        operation_id="ready",
    )
    web.add_api_route(
        "/metrics",
        metrics,
        methods=["GET"],
        summary="Prometheus metrics of all processes",
        tags=["operation"],
        response_class=Response,
        responses={200: {"description": "Metrics", "content": {"text/plain": {}}}},
        operation_id="metrics",
    )
