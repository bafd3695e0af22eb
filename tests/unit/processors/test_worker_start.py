"""A processor that starts while the log does not answer."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import LogUnavailable
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Consumer, Listener
from processors.worker import serve
from tests.support.rig import Rig, accepted


class Away(MemoryLog):
    """A log whose groups cannot be joined the first two times."""

    refusals = 2

    async def consumer(self, group: str, topics: object, listener: Listener | None = None) -> Consumer:
        """Refuse, then join."""
        if self.refusals:
            self.refusals -= 1
            raise LogUnavailable("no broker can be reached")
        return await super().consumer(group, ["events.accepted"], listener)


async def test_it_waits_for_the_log_and_then_processes(caplog: pytest.LogCaptureFixture) -> None:
    """It does not end: whoever watches processes need not start it again and again while the brokers are away."""
    rig, stop = Rig(), asyncio.Event()
    rig.log = Away(1, rig.clock)
    await rig.accept([accepted(1, "m1")])
    work = asyncio.create_task(serve(rig.resources, stop))
    async with asyncio.timeout(20):
        while not any(one.accepted for one in (await rig.totals()).values()):
            assert not work.done()
            await rig.log.wait(["totals"], 0.1)
    stop.set()
    await work
    assert caplog.text.count("processing begins when the log answers") == 2
    await rig.check()


async def test_told_to_stop_before_the_log_answers_it_ends() -> None:
    """In order, without an error."""
    rig, stop = Rig(), asyncio.Event()
    log = Away(1, rig.clock)
    log.refusals = 1_000_000
    rig.log = log
    work = asyncio.create_task(serve(rig.resources, stop))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(10):
        await work
