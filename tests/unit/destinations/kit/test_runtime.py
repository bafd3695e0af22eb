"""The destinations process: isolation, reload, restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from destinations.kit import control, registry, runtime
from destinations.kit.books import all_totals
from destinations.webhook import Config, spec, to_requests
from headwater.clock import SystemClock
from headwater.log.memory import MemoryLog
from headwater.paths import DataDir
from headwater.plugin import Request
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace
from tests.support.delivering import event, publish
from tests.support.receiver import Answer, Receiver


def _workspace(hooks: dict[str, dict[str, Any]]) -> Workspace:
    common = {"type": "webhook", "allow_private": True, "delivery": {"batch": {"max_wait_s": 0}}}
    return Workspace.model_validate(
        {
            "workspace": "test",
            "sources": {"web": {"kind": "browser", "write_keys": ["w"]}},
            "destinations": {name: {**common, **options} for name, options in hooks.items()},
        }
    )


class Process:
    """A running destinations process over a log in memory."""

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        self.log, self.live, self.data = MemoryLog(), LiveWorkspace(workspace), DataDir(folder).make()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run until the block ends."""
        stop = asyncio.Event()
        task = asyncio.create_task(
            runtime.run(self.live, self.log, self.data, SystemClock(), stop, None, "127.0.0.1")
        )
        try:
            while not (self.data.run / control.SOCKET).exists():
                await self.log.wait(["never"], 0.01)
            yield
        finally:
            stop.set()
            await task

    async def until(self, met: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Wait for delivered counts by destination."""
        async with asyncio.timeout(20):
            while True:
                counts = {name: totals.delivered for name, totals in (await all_totals(self.log)).items()}
                if met(counts):
                    return counts
                await self.log.wait(["totals.destinations"], 0.02)

    async def status(self) -> dict[str, dict[str, Any]]:
        """What the control socket says."""
        return {each["destination"]: each for each in await control.status(self.data)}


async def test_a_dead_destination_slows_no_other(tmp_path: Path) -> None:
    """While one receiver never answers, the other gets everything."""
    async with Receiver(rule=lambda _: Answer(silent=True)) as dead, Receiver() as alive:
        process = Process(tmp_path, _workspace({"dead": {"url": dead.url}, "alive": {"url": alive.url}}))
        await publish(process.log, [event(n) for n in range(500)])
        async with process.running():
            counts = await process.until(lambda c: c.get("alive") == 500)
            assert counts.get("dead", 0) == 0
            process.live.replace(_workspace({"alive": {"url": alive.url}}))
            dead.rule = lambda _: Answer()
            for writer in list(dead._writers):
                writer.transport.abort()


async def test_a_reload_starts_stops_and_restarts_only_what_changed(tmp_path: Path) -> None:
    """A new destination starts from the beginning, a removed one stops, a changed one goes on, the others keep running."""
    async with Receiver() as first, Receiver() as second, Receiver() as third:
        process = Process(tmp_path, _workspace({"one": {"url": first.url}, "two": {"url": second.url}}))
        await publish(process.log, [event(n) for n in range(20)])
        async with process.running():
            await process.until(lambda c: c == {"one": 20, "two": 20})
            changed: dict[str, dict[str, Any]] = {
                "one": {"url": first.url},
                "two": {"url": third.url},
                "new": {"url": third.url, "batch": False},
            }
            process.live.replace(_workspace(changed))
            await process.until(lambda c: c.get("new") == 20)
            await publish(process.log, [event(20)])
            await process.until(lambda c: c == {"one": 21, "two": 21, "new": 21})
            assert len(second.ids) == 20
            assert third.ids.count("m20") == 2
            process.live.replace(_workspace({"one": {"url": first.url}}))
            while list(await process.status()) != ["one"]:
                await process.log.wait(["never"], 0.01)
            await publish(process.log, [event(21)])
            await process.until(lambda c: c["one"] == 22)
        assert "m21" not in third.ids
        assert sorted(first.ids) == sorted(f"m{n}" for n in range(22))


async def test_a_delivery_that_crashes_is_started_again_and_the_others_do_not_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault outside the mapping restarts that destination alone; status shows the reason meanwhile."""
    monkeypatch.setattr(runtime, "RESTART_CAP_S", 0.05)
    broken = True

    def sometimes(events: Any, config: Any) -> list[Request]:
        if broken:
            raise asyncio.QueueFull  # the kit keeps a mapping's own faults apart, so this costs its events only
        return to_requests(events, config)

    registry.register("flaky", registry.Plugin(Config, spec, sometimes))
    try:
        async with Receiver() as receiver:
            hooks = {"flaky": {"url": receiver.url, "type": "flaky"}, "good": {"url": receiver.url}}
            process = Process(tmp_path, _workspace(hooks))
            process.log.faults.fail("transaction", times=1, error=RuntimeError("a bug"))
            await publish(process.log, [event(n) for n in range(3)])
            async with process.running():
                await process.until(lambda c: c.get("good") == 3)
                async with asyncio.timeout(10):
                    while (await all_totals(process.log)).get("flaky") is None:
                        await process.log.wait(["totals.destinations"], 0.02)
                assert sum(each["restarts"] for each in (await process.status()).values()) == 1
            assert (await all_totals(process.log))["flaky"].dead == 3
    finally:
        registry.unregister("flaky")


async def test_a_disabled_destination_reads_nothing_and_catches_up_later(tmp_path: Path) -> None:
    """Switched off, the backlog waits; switched on again by a reload, it is delivered."""
    async with Receiver() as receiver:
        process = Process(tmp_path, _workspace({"one": {"url": receiver.url, "enabled": False}}))
        await publish(process.log, [event(n) for n in range(5)])
        async with process.running():
            assert await process.status() == {}
            process.live.replace(_workspace({"one": {"url": receiver.url}}))
            await process.until(lambda c: c == {"one": 5})
