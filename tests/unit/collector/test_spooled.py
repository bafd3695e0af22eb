"""The collector while its log takes nothing: it acknowledges from the disk, is ready as long as there is room, then says 503."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.clock import SystemClock
from headwater.errors import LogUnavailable
from headwater.log import spool
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Lag, Log
from headwater.log.spool import SpooledLog
from headwater.log.spool_folder import Folder
from headwater.log.spool_store import Store
from tests.support.serving import Served, serve

EVENT = {"type": "track", "event": "Signed Up", "userId": "u1"}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses in milliseconds; what is kept in /ready is asked anew each time."""
    monkeypatch.setattr(spool, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(spool, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr("collector.routes.health._KEPT_S", -1.0)


def through(folder: Path, capacity: int) -> Callable[[MemoryLog], Log]:
    """A spool in a folder."""

    def wrapped(inner: MemoryLog) -> Log:
        return SpooledLog(inner, Store(Folder(folder), capacity, SystemClock()), SystemClock(), 1)

    return wrapped


async def until_drained(served: Served) -> None:
    """Ask /ready until nothing waits."""
    async with asyncio.timeout(20):
        while (await served.request("GET", "/ready")).json["spool"]["bytes"]:
            await asyncio.sleep(0.005)


async def numbers(served: Served) -> list[str | None]:
    """Who is in the log, in order."""
    return [event.user_id for event in await served.events()]


async def test_an_outage_is_200_and_ready_and_everything_arrives_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients notice nothing: not in their answers, not through a load balancer that asks /ready."""

    async def away(*_: object) -> list[Lag]:
        raise LogUnavailable("no broker answers")

    async with serve(tmp_path, through=through(tmp_path / "spool", 1 << 20)) as served:
        assert (await served.post("/v1/track", {**EVENT, "userId": "0"})).status == 200
        served.log.faults.fail("append", times=1_000_000)
        with monkeypatch.context() as patched:
            patched.setattr(MemoryLog, "lag", away)
            for n in range(1, 10):
                assert (await served.post("/v1/track", {**EVENT, "userId": str(n)})).status == 200
            ready = await served.request("GET", "/ready")
        assert (ready.status, ready.json["reasons"]) == (200, [])
        assert ready.json["spool"]["bytes"] > 0
        assert ready.json["spool"]["oldestSeconds"] >= 0
        assert await numbers(served) == ["0"]
        served.log.faults._planned.clear()
        await until_drained(served)
        assert await numbers(served) == [str(n) for n in range(10)]


async def test_a_full_spool_is_503_with_retry_after_and_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bounded: the code; figures and the setting's name in the log; ready again once it has drained, without another request."""
    async with serve(tmp_path, through=through(tmp_path / "spool", 20_000)) as served:
        served.log.faults.fail("append", times=1_000_000)
        taken = 0
        filler = {"text": "".join(chr(33 + n * n % 90) for n in range(400))}
        while (
            answer := await served.post("/v1/track", {**EVENT, "userId": str(taken), "properties": filler})
        ).status == 200:
            taken += 1
        assert (answer.status, answer.json["code"]) == (503, "log_unavailable")
        assert "log.spool_bytes" in caplog.text
        assert int(answer.headers["retry-after"]) > 0
        ready = await served.request("GET", "/ready")
        assert (ready.status, ready.json["reasons"][0]["code"]) == (503, "log_unavailable")
        served.log.faults._planned.clear()
        await until_drained(served)
        async with asyncio.timeout(20):
            while (await served.request("GET", "/ready")).status != 200:
                await asyncio.sleep(0.005)
        assert await numbers(served) == [str(n) for n in range(taken)]
