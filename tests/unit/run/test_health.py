"""What a processor or destination process answers on its health port, and when it says that it is not ready."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Sequence

import pytest

from headwater import metrics
from headwater.clock import ManualClock
from headwater.errors import LogUnavailable
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Lag, Record
from headwater.log.topics import ACCEPTED, PROCESSOR_GROUP
from headwater.run.health import Health, answering
from headwater.run.ports import PortUnavailable
from headwater.run.settings import LOOPBACK, StageSettings
from tests.support.running import free_port


class Unreadable(MemoryLog):
    """A log whose next looks at the lag can be made to fail."""

    failures = 0

    async def lag(self, group: str, topics: Sequence[str]) -> list[Lag]:
        """The lag, or the planned failure."""
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("the broker is away")
        return await super().lag(group, topics)


class Rig:
    """A log, a clock, and the health of a processor that reads that log."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.log = Unreadable(clock=self.clock)
        self.leave = asyncio.Event()
        self.health = Health(self.log, self.clock, self.leave, lambda: {PROCESSOR_GROUP: ACCEPTED})

    async def codes(self) -> list[str]:
        """Why it is not ready, once the kept answer is too old."""
        self.clock.advance(2)
        return [problem["code"] for problem in (await self.health.look())[0]]


def settings(port: int | None) -> StageSettings:
    """A processor that answers on a port."""
    return StageSettings(stage="processor", dir=".", workspace="none", health_port=port)


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


async def test_a_backlog_is_told_and_does_not_make_the_stage_unready() -> None:
    """A rollout that waits for readiness must not wait for the backlog that the new process is to work off."""
    rig = Rig()
    await rig.log.append([Entry(ACCEPTED, 0, Record(b"{}", events=3))])
    rig.clock.advance(60)
    assert await rig.health.look() == ([], {PROCESSOR_GROUP: {"events": 3, "seconds": 60.0}})


async def test_a_log_that_cannot_be_read_is_not_ready_until_it_can() -> None:
    """The reason has the collector's code for it."""
    rig = Rig()
    rig.log.failures = 1
    assert await rig.codes() == ["log_unavailable"]
    assert await rig.codes() == []


async def test_an_answer_is_kept_for_a_second() -> None:
    """Many who ask at once cost one look at the log."""
    rig = Rig()
    assert (await rig.health.look())[0] == []
    rig.log.failures = 1
    assert (await rig.health.look())[0] == []
    assert await rig.codes() == ["log_unavailable"]


async def test_the_three_paths_answer_while_the_stage_runs_and_leaves() -> None:
    """200 while it works; 503 with `draining` while it finishes; nothing listens afterwards."""
    rig, port = Rig(), free_port()
    metrics.PROCESSOR_LAG.labels("0").set(0)
    async with answering(settings(port), rig.health):
        assert await asyncio.to_thread(get, port, "/health") == (200, '{"status":"ok"}')
        status, body = await asyncio.to_thread(get, port, "/ready")
        assert (status, json.loads(body)["ready"]) == (200, True)
        status, body = await asyncio.to_thread(get, port, "/metrics")
        assert status == 200
        assert "headwater_processor_lag_events" in body
        rig.leave.set()
        status, body = await asyncio.to_thread(get, port, "/ready")
        assert (status, json.loads(body)["reasons"][0]["code"]) == (503, "draining")
        assert (await asyncio.to_thread(get, port, "/health"))[0] == 200
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(get, port, "/health")


async def test_a_port_in_use_is_named_with_its_option() -> None:
    """One sentence, before the stage works."""
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(PortUnavailable, match="--health-port"):
        async with answering(settings(taken.getsockname()[1]), Rig().health):
            raise AssertionError("it listens on a port in use")


async def test_without_a_port_nothing_listens() -> None:
    """The default: on one machine the collector answers for all."""
    async with answering(settings(None), Rig().health):
        assert asyncio.all_tasks() == {asyncio.current_task()}
