"""A change of the file comes into force while running; an invalid one does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headwater.workspace.live import LiveWorkspace
from headwater.workspace.load import Loaded, load
from headwater.workspace.model import Workspace
from headwater.workspace.watch import Watcher

TEXT = "workspace: acme\nsources: {web: {kind: browser, write_keys: ['file:key.txt']}}\n"
FAST_S = 0.01


class Scene:
    """A workspace on disk, in force and watched."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "headwater.yaml"
        self.file.write_text(TEXT)
        (folder / "key.txt").write_text("wk_first\n")
        self.loaded = self.load()
        self.live = LiveWorkspace(self.loaded.workspace)
        self.changes: asyncio.Queue[Workspace] = asyncio.Queue()
        self.live.subscribe(self.changes.put_nowait)
        self.applied: list[Loaded] = []
        self.watcher = Watcher(self.live, self.loaded, self.load, applied=self.applied.append)

    def load(self) -> Loaded:
        """Read the file."""
        return load(self.file, environ={})

    async def change(self) -> Workspace:
        """The next workspace that came into force."""
        async with asyncio.timeout(5):
            return await self.changes.get()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A fresh scene."""
    return Scene(tmp_path)


@asynccontextmanager
async def watching(scene: Scene, poll_s: float = FAST_S) -> AsyncIterator[None]:
    """The scene's watcher at work."""
    task = asyncio.create_task(scene.watcher.run(poll_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_valid_change_comes_into_force(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Subscribers hear of it, and the log tells what changed."""
    caplog.set_level(logging.INFO)
    async with watching(scene):
        scene.file.write_text(TEXT + "limits: {rate: 5}\n")
        assert (await scene.change()).limits.rate == 5
    assert scene.live.version == 2
    assert "workspace version 2 in force: limits.rate: None -> 5" in caplog.text
    assert scene.applied[0].workspace is scene.live.current


async def test_a_save_by_rename_is_noticed(scene: Scene) -> None:
    """Editors write a new file and move it over the old one."""
    async with watching(scene):
        fresh = scene.file.with_suffix(".new")
        fresh.write_text(TEXT + "limits: {rate: 6}\n")
        fresh.replace(scene.file)
        assert (await scene.change()).limits.rate == 6


async def test_a_changed_secret_file_is_noticed(scene: Scene) -> None:
    """Rotating a key that lives in a file needs no touch of headwater.yaml; the log does not show the key."""
    async with watching(scene):
        (scene.file.parent / "key.txt").write_text("wk_second\n")
        assert (await scene.change()).sources["web"].write_keys == ["wk_second"]


async def test_an_invalid_change_is_refused_loudly_and_mending_it_works(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """The old workspace stays in force until the file is valid again."""
    refused = asyncio.Event()

    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.ERROR:
                refused.set()

    logging.getLogger("headwater.workspace.watch").addHandler(tell := Tell())
    try:
        async with watching(scene):
            scene.file.write_text(TEXT + "limit: {}\n")
            async with asyncio.timeout(5):
                await refused.wait()
            assert scene.live.version == 1
            assert "REFUSED" in caplog.text
            assert "unknown key 'limit'; did you mean 'limits'?" in caplog.text
            scene.file.write_text(TEXT + "limits: {rate: 7}\n")
            assert (await scene.change()).limits.rate == 7
    finally:
        logging.getLogger("headwater.workspace.watch").removeHandler(tell)


async def test_a_hurried_look_reads_at_once(scene: Scene) -> None:
    """SIGHUP does not wait for the next look."""
    async with watching(scene, poll_s=3600):
        scene.file.write_text(TEXT + "limits: {rate: 8}\n")
        scene.watcher.hurry()
        assert (await scene.change()).limits.rate == 8


async def test_partitions_cannot_change_while_running(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The refusal names the setting; a later good change still works."""
    async with watching(scene, poll_s=3600):
        scene.file.write_text(TEXT + "log: {partitions: 8}\n")
        scene.watcher.hurry()
        async with asyncio.timeout(5):
            while "log.partitions cannot change from 1 to 8" not in caplog.text:
                await asyncio.sleep(0)
        scene.file.write_text(TEXT + "limits: {rate: 9}\n")
        scene.watcher.hurry()
        assert (await scene.change()).limits.rate == 9


async def test_neither_an_odd_failure_nor_a_full_disk_ends_the_watching(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever reading raises, the old workspace stays; a copy that cannot be written keeps no good change back."""
    faults: list[Exception] = [RuntimeError("odd")]

    def reload() -> Loaded:
        if faults:
            raise faults.pop()
        return scene.load()

    def full(_: Loaded) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scene, "watcher", Watcher(scene.live, scene.loaded, reload, applied=full))
    async with watching(scene, poll_s=3600):
        scene.watcher.hurry()
        async with asyncio.timeout(5):
            while "the old one stays in force" not in caplog.text:
                await asyncio.sleep(0)
        scene.file.write_text(TEXT + "limits: {rate: 9}\n")
        scene.watcher.hurry()
        assert (await scene.change()).limits.rate == 9
    assert "No space left on device" in caplog.text
