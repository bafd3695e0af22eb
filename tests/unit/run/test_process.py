"""A child process is kept alive, and leaves in good order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from headwater.clock import SystemClock
from headwater.run.process import Child
from headwater.run.settings import Stage, name_of

READY = "import os, sys, signal, time; os.write(int(sys.argv[1]), b'1'); "
WAITS = READY + "signal.pause()"
POLITE = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); " + WAITS
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "time.sleep(60)"


@asynccontextmanager
async def kept(script: str) -> AsyncIterator[tuple[Child, asyncio.Queue[int | None]]]:
    """A child that runs the script, and its pids as they come and go (None while it is down)."""
    pids: asyncio.Queue[int | None] = asyncio.Queue()

    def command(ready: int) -> tuple[list[str], Sequence[int]]:
        return [sys.executable, "-c", script, str(ready)], ()

    child = Child("collector", command, SystemClock(), lambda: pids.put_nowait(child.pid))
    task = asyncio.create_task(child.keep())
    try:
        async with asyncio.timeout(20):
            yield child, pids
    finally:
        child.signal(signal.SIGKILL)
        await child.stop(5)
        await task


async def test_a_killed_child_is_started_again_and_is_ready_again() -> None:
    """SIGKILL is answered with a new process."""
    async with kept(WAITS) as (child, pids):
        first = await pids.get()
        assert first is not None
        await child.ready.wait()
        os.kill(first, signal.SIGKILL)
        assert await pids.get() is None
        assert not child.ready.is_set()
        second = await pids.get()
        assert second not in (None, first)
        await child.ready.wait()
        assert child.restarts == 1


async def test_a_child_that_ends_at_once_is_started_with_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The pause doubles, and the log tells the exit code."""
    async with kept("import sys; sys.exit(7)") as (child, pids):
        for _ in range(3):
            assert await pids.get() is not None
            assert await pids.get() is None
        while child.restarts < 3:
            await asyncio.sleep(0)
    pauses = [
        record.args[2]
        for record in caplog.records
        if isinstance(record.args, tuple) and len(record.args) == 3
    ]
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert "the collector ended with code 7" in caplog.text


@pytest.mark.parametrize(
    ("stage", "name"), [("collector", "collector"), ("destinations", "destinations process")]
)
def test_a_stage_has_a_name_that_fits_a_sentence(stage: Stage, name: str) -> None:
    """`the destinations was killed` is no English."""
    assert name_of(stage) == name


async def test_a_polite_child_leaves_on_sigterm_and_stays_away() -> None:
    """Leaving with code 0 is a clean stop, and nothing is started after it."""
    async with kept(POLITE) as (child, _):
        await child.ready.wait()
        assert await child.stop(5) is True
        assert child.pid is None
        assert child.restarts == 0


async def test_a_deaf_child_is_killed_when_its_time_is_over() -> None:
    """A child that ignores SIGTERM cannot hold up the end; the stop is not clean."""
    async with kept(DEAF) as (child, _):
        await child.ready.wait()
        assert await child.stop(0.2) is False
        assert child.pid is None


async def test_a_program_that_cannot_be_started_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """No exception escapes; it is tried again later."""
    child = Child("processor", lambda _: (["/nonexistent/python"], ()), SystemClock(), lambda: None)
    task = asyncio.create_task(child.keep())
    async with asyncio.timeout(5):
        while not child.restarts:
            await asyncio.sleep(0)
    await child.stop(1)
    await task
    assert "cannot start the processor: No such file or directory" in caplog.text
