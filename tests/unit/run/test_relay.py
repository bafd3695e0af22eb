"""What the supervisor does at each word of the note that the log goes to Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from headwater.log import moving
from headwater.log.moving import Move
from headwater.paths import DataDir
from headwater.run import configuration
from headwater.run.relay import Relay
from headwater.run.settings import STAGES, Stage
from headwater.workspace.load import Loaded

OLD = "workspace: acme\nsources: {api: {kind: server, write_keys: [wk_api]}}\n"
NEW = OLD + 'log: {type: kafka, brokers: ["127.0.0.1:9"], topic_prefix: "hw."}\n'


class Told:
    """Stages that only remember what they were asked."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[str, tuple[Stage, ...]]] = asyncio.Queue()

    async def change(self, loaded: Loaded, stages: Sequence[Stage]) -> None:
        """Remember."""
        self.asked.put_nowait((loaded.file.name, tuple(stages)))

    def end(self) -> None:
        """Remember."""
        self.asked.put_nowait(("end", ()))

    async def next(self) -> tuple[str, tuple[Stage, ...]]:
        """What was asked next."""
        async with asyncio.timeout(20):
            return await self.asked.get()


def note(folder: Path) -> Move:
    """A move that has just begun."""
    return Move(
        id="0" * 32, state="copying", workspace=str(folder / "new.yaml"), before="", topic_prefix="hw.", partitions=1,
        destinations=[], began_ms=1,
    )  # fmt: skip


@asynccontextmanager
async def following(folder: Path, file: str) -> AsyncIterator[tuple[DataDir, Relay, Told]]:
    """A relay of a supervisor that was started with a workspace."""
    (folder / "old.yaml").write_text(OLD)
    (folder / "new.yaml").write_text(NEW)
    data, told = DataDir(folder / "data").make(), Told()
    relay = Relay(data, configuration.read(folder / file))
    task = asyncio.create_task(relay.run(told))
    try:
        yield data, relay, told
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_move_takes_the_stages_along(tmp_path: Path) -> None:
    """The collector alone while events are copied, all of them afterwards, on the new workspace."""
    async with following(tmp_path, "old.yaml") as (data, relay, told):
        assert relay.stages() == STAGES
        moving.write(data, note(tmp_path))
        relay.hurry()
        assert await told.next() == ("new.yaml", ("collector",))
        moving.write(data, replace(note(tmp_path), state="moved"))
        assert await told.next() == ("new.yaml", STAGES)


async def test_a_move_that_is_taken_back_brings_the_old_stages_back(tmp_path: Path) -> None:
    """Nothing runs while the spool is emptied into the old log."""
    async with following(tmp_path, "old.yaml") as (data, relay, told):
        moving.write(data, note(tmp_path))
        relay.hurry()
        assert await told.next() == ("new.yaml", ("collector",))
        moving.write(data, replace(note(tmp_path), state="returning"))
        assert await told.next() == ("new.yaml", ())
        moving.forget(data)
        assert await told.next() == ("old.yaml", STAGES)


async def test_a_supervisor_of_the_new_workspace_ends_when_the_move_is_taken_back(tmp_path: Path) -> None:
    """It knows no other workspace to go on with."""
    data = DataDir(tmp_path / "data").make()
    moving.write(data, note(tmp_path))
    async with following(tmp_path, "new.yaml") as (data, relay, told):
        assert relay.stages() == ("collector",)
        moving.forget(data)
        assert await told.next() == ("end", ())


async def test_a_workspace_that_cannot_be_read_here_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A secret that the supervisor's environment lacks: everything goes on, and the log says why."""
    async with following(tmp_path, "old.yaml") as (data, relay, told):
        (tmp_path / "new.yaml").write_text(NEW + "limits: {rate: '${NO_SUCH_SECRET_HERE}'}\n")
        moving.write(data, note(tmp_path))
        relay.hurry()
        async with asyncio.timeout(20):
            while "NO_SUCH_SECRET_HERE" not in caplog.text:
                await asyncio.sleep(0)
        assert relay.stages() == STAGES
        assert told.asked.empty()
