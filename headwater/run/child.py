"""One stage as a process: `python -m headwater.run.child STAGE JSON` under the supervisor, or the commands that run a stage.

A supervised stage holds the read end of a pipe whose other end only the supervisor has: end of file means that the
supervisor is gone, however it died, and the stage drains and leaves, so that the next `up` finds the folder free.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from headwater import logs
from headwater.clock import SystemClock
from headwater.errors import AlreadyRunning, ConfigError, HeadwaterError, Problem, unusable_path
from headwater.run import configuration, exits
from headwater.run.files import Holder, acquire, holder_of, stage_lock
from headwater.run.ports import PortUnavailable
from headwater.run.settings import Stage, StageSettings, name_of
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.load import Loaded
from headwater.workspace.watch import Watcher

logger = logging.getLogger("headwater.run.child")  # by name: under `-m` this module is called __main__

MOST_FILES = 1 << 20
ORPHAN_S = 5.0  # a stage whose supervisor died has this long to leave by itself


def main(arguments: list[str] | None = None) -> int:
    """Run the stage that the supervisor describes; returns the exit code."""
    encoded = (sys.argv[1:] if arguments is None else arguments)[-1]
    return run(msgspec.json.decode(encoded, type=StageSettings))


def run(settings: StageSettings) -> int:
    """Run one stage until it is told to leave; returns the exit code."""
    # Importing the ClickHouse engine changes the working directory for a moment: no relative path may live beside that.
    settings = msgspec.structs.replace(
        settings, dir=str(Path(settings.dir).absolute()), workspace=str(Path(settings.workspace).absolute())
    )
    logs.configure(settings.stage, settings.log_style, settings.log_level)
    _allow_many_files()
    try:
        data = settings.data.make()
        configuration.metrics_folder(data)
        holder = Holder(os.getpid(), os.getppid() if settings.supervised else 0)
        path = stage_lock(data, settings.stage)
        before = holder_of(path).pid
        lock = acquire(path, f"the {name_of(settings.stage)} of {data.root}", holder)
        try:
            if (
                not settings.supervised
            ):  # a supervisor keeps what a killed child counted, until it starts anew itself
                configuration.forget_counters(data, before)
            loaded = _load(settings)
            import uvloop

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_stage(settings, loaded))
        finally:
            lock.release()
    except Exception as error:  # noqa: BLE001 - the edge of the process: everything becomes a line and a code
        return _told(error, settings.stage)
    return exits.OK


def _allow_many_files() -> None:
    """Raise the soft limit of open files: ClickHouse keeps one for each part, the collector one for each connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _told(error: Exception, stage: Stage) -> int:
    """Log why the stage ended and choose the exit code; a trace only where it would help to mend a defect."""
    causes = list(_leaves(error))
    expected = all(isinstance(cause, HeadwaterError) or unusable_path(cause) for cause in causes)
    sentences = "; ".join(unusable_path(cause) or str(cause) or type(cause).__name__ for cause in causes)
    logger.error("the %s ended: %s", name_of(stage), sentences, exc_info=None if expected else error)
    if any(isinstance(cause, ConfigError) for cause in causes):
        return exits.CONFIG
    if any(isinstance(cause, AlreadyRunning | PortUnavailable) for cause in causes):
        return exits.OCCUPIED
    return exits.FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _load(settings: StageSettings) -> Loaded:
    file = Path(settings.workspace)
    data = settings.data
    loaded = configuration.read_or_last_good(file, data) if settings.supervised else configuration.read(file)
    if not settings.supervised:
        configuration.remember(file, data)
    known = loaded.workspace.destinations
    if settings.only is not None and settings.only not in known:
        listed = ", ".join(known) or "none"
        raise ConfigError([Problem(f"no destination {settings.only!r}; destinations: {listed}", str(file))])
    return loaded


@dataclass(slots=True)
class _Ready:
    """Tells the supervisor, once, that the stage works."""

    descriptor: int

    def __call__(self) -> None:
        if self.descriptor < 0:
            logger.info("ready")
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self.descriptor, b"1")
        os.close(self.descriptor)
        self.descriptor = -1


async def _stage(settings: StageSettings, loaded: Loaded) -> None:
    from headwater.log.open import open_log
    from headwater.run.stages import WORK, Context

    leave = asyncio.Event()
    live = LiveWorkspace(configuration.narrow(loaded.workspace, settings.only))
    watcher = _watcher(settings, live, loaded)
    _signals(leave.set, watcher.hurry)
    if settings.supervised:
        _lifeline(settings.lifeline_fd, leave.set)
    clock = SystemClock()
    async with (
        open_log(
            loaded.workspace.log,
            settings.data,
            settings.stage,
            clock,
            lambda: live.current.processors.dedupe.window_days,
            # of one destination alone the others are not gone
            lambda: None if settings.only else frozenset(live.current.destinations),
        ) as log,
        asyncio.TaskGroup() as tasks,
    ):
        watching = tasks.create_task(watcher.run())
        try:
            await WORK[settings.stage](Context(settings, live, log, clock, leave, _Ready(settings.ready_fd)))
        finally:
            watching.cancel()


def _watcher(settings: StageSettings, live: LiveWorkspace, loaded: Loaded) -> Watcher:
    def reload() -> Loaded:
        fresh = configuration.read(loaded.file)
        if settings.only is not None and settings.only not in fresh.workspace.destinations:
            raise ConfigError([Problem(f"the destination {settings.only!r} is gone", str(loaded.file))])
        return replace(fresh, workspace=configuration.narrow(fresh.workspace, settings.only))

    return Watcher(live, loaded, reload, told_elsewhere=settings.supervised)


def _signals(leave: Callable[[], None], hurry: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    loop.add_signal_handler(signal.SIGHUP, hurry)


def _lifeline(descriptor: int, leave: Callable[[], None]) -> None:
    """Leave when the supervisor's end of the pipe closes; in a thread, so that a busy loop cannot delay the end."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        while os.read(descriptor, 1):
            continue
        logger.warning("the supervisor is gone; draining and leaving")
        with contextlib.suppress(RuntimeError):  # the loop has ended already: so do we
            loop.call_soon_threadsafe(leave)
        time.sleep(ORPHAN_S)
        os._exit(exits.FAILED)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
