"""How a stage leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headwater.clock import ManualClock
from headwater.errors import LogUnavailable
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Bounds, TopicPartition
from headwater.log.topics import ACCEPTED, PROCESSOR_GROUP
from headwater.run.settings import StageSettings
from headwater.run.stages import Context, _until_left
from headwater.workspace.live import LiveWorkspace
from tests.support.rig import workspace


class Away(MemoryLog):
    """A log that answers nobody."""

    async def bounds(self, tp: TopicPartition) -> Bounds:
        """Refused."""
        raise LogUnavailable(f"the broker of {tp.topic} is away")


async def test_a_stage_leaves_in_order_while_the_log_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Told to leave, it cannot see its backlog; it stops its work all the same, and nothing has failed."""
    leave, stop = asyncio.Event(), asyncio.Event()
    settings = StageSettings(stage="processor", dir=str(tmp_path), workspace="none")
    context = Context(settings, LiveWorkspace(workspace()), Away(), ManualClock(), leave, leave.set)

    async def work() -> None:
        await stop.wait()

    async with asyncio.timeout(10):
        await _until_left(context, work(), stop, lambda: {PROCESSOR_GROUP: ACCEPTED})
    assert stop.is_set()
    assert "leaving the backlog for the next start: the broker of events.accepted is away" in caplog.text
