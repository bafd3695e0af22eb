"""`headwater up`: one supervisor, three children, one line on stdout when events can come, and an orderly end.

The supervisor owns the folder's lock and the listening socket. The socket is handed to the collector, so that while a killed
collector is started again, clients wait in the backlog and none is refused. Children watch a pipe whose other end only the
supervisor holds: they leave when it dies, however it dies.

While `headwater migrate` carries the log to Kafka, only the collector runs, on the workspace that the log goes to
(`headwater.run.relay`).

The end, on SIGTERM or SIGINT: close the socket; the collector answers what is open and flushes; the processor finishes its
backlog; the destinations deliver theirs, as far as it moves. Each step is bounded; a second signal kills what is left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from headwater import logs
from headwater.clock import Clock, SystemClock
from headwater.log import moving
from headwater.log.made_for import check_partitions
from headwater.paths import DataDir
from headwater.run import configuration, exits, files
from headwater.run.orphans import wait_for_orphans
from headwater.run.ports import free_port, listen
from headwater.run.process import Child
from headwater.run.relay import Relay
from headwater.run.settings import (
    DEFAULT_CLICKHOUSE_PORT,
    DEFAULT_PORT,
    LOOPBACK,
    STAGES,
    Stage,
    StageSettings,
    command,
)
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.load import Loaded
from headwater.workspace.template import write_new
from headwater.workspace.watch import Watcher

logger = logging.getLogger(__name__)

LEAVE_S = 25.0  # a child's own bound is shorter (stages.GRACE_S): this one is for a child that hangs
AGAIN_S = (
    0.3  # a Ctrl-C comes twice where a wrapper (timeout, sudo, npm) hands on what the terminal sent, too
)
CLICKHOUSE_S = 60.0  # the engine opens its tables before it answers
CommandLine = Callable[[StageSettings], list[str]]


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `headwater up` was told."""

    data: DataDir
    workspace: str | None = None
    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    clickhouse_port: int = DEFAULT_CLICKHOUSE_PORT
    log_style: logs.Style = "auto"
    log_level: str = "info"


def up(options: UpOptions, command_line: CommandLine = command) -> int:
    """Run until told to stop; returns the exit code. Raises AlreadyRunning, ConfigError, PortUnavailable."""
    logs.configure("up", options.log_style, options.log_level)
    data = options.data.make()
    lock = files.acquire(files.up_lock(data), f"Headwater on {data.root}", files.Holder(os.getpid()))
    try:
        loaded = _workspace(options)
        configuration.require_engine(loaded)
        moving.check(data, loaded.workspace.log, "collector")
        wait_for_orphans(data)
        check_partitions(data, loaded.workspace.log)
        files.clean(data)
        configuration.keep(loaded, data)
        configuration.remember(loaded.file, data)
        listening = listen(options.host, options.port, "--port")
        with listening:
            clickhouse = options.clickhouse_port  # a workspace that gets an engine later binds it then
            if configuration.embedded_clickhouse(loaded.workspace) or not clickhouse:
                clickhouse = free_port(LOOPBACK, clickhouse, "--clickhouse-port")
            supervisor = Supervisor(
                options,
                loaded,
                listening,
                clickhouse_port=clickhouse,
                command_line=command_line,
                clock=SystemClock(),
            )
            return asyncio.run(supervisor.run())
    finally:
        configuration.forget(data)
        files.remove_up(data)
        lock.release()


def _workspace(options: UpOptions) -> Loaded:
    file, last = configuration.find(options.data, options.workspace), configuration.remembered(options.data)
    if options.workspace is None:
        if not file.exists():
            write_new(file)
            logger.info("no headwater.yaml here: wrote one with fresh write keys to %s", file)
        elif last is not None and last != file.absolute():
            logger.warning("the workspace is %s; %s last ran with %s", file, options.data.root, last)
    return configuration.read(file)


class Supervisor:
    """Three children and the socket in front of them."""

    def __init__(
        self,
        options: UpOptions,
        loaded: Loaded,
        listening: socket.socket,
        *,
        clickhouse_port: int,
        command_line: CommandLine,
        clock: Clock,
    ) -> None:
        self._options, self._loaded, self._listening = options, loaded, listening
        self._clickhouse_port, self._command_line, self._clock = clickhouse_port, command_line, clock
        self._engine = configuration.embedded_clickhouse(loaded.workspace)  # it stays open once it was needed
        self._port: int = listening.getsockname()[1]
        self._started_ms = clock.now_ms()
        self._stop = asyncio.Event()
        self._asked_s: float | None = None
        self._lifeline, self._hold = os.pipe()  # `_hold` is never handed on: it closes when this process ends
        self._relay = Relay(options.data, loaded)
        self.children: dict[Stage, Child] = {}

    async def run(self) -> int:
        """Start, say when events can come, wait for a signal, stop in order; the exit code."""
        self._handle_signals()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._start(self._relay.stages())
            self._watch()
            announcing = tasks.create_task(self._announce())
            relaying = tasks.create_task(self._relay.run(self))
            await self._stop.wait()
            self._watching.cancel()
            announcing.cancel()
            relaying.cancel()
            await asyncio.wait({relaying})
            clean = await self._drain()
        os.close(self._hold)
        os.close(self._lifeline)
        logger.info("stopped")
        return exits.OK if clean else exits.FAILED

    def _start(self, stages: Sequence[Stage]) -> None:
        for stage in stages:
            child = Child(stage, partial(self._command, stage), self._clock, self._write_up)
            self.children[stage] = child
            self._tasks.create_task(child.keep())

    async def change(self, loaded: Loaded, stages: Sequence[Stage]) -> None:
        """Go on with these stages on this workspace: what runs on another one leaves, the collector first.

        The socket stays: clients wait in its backlog while the collector starts again, and none is refused.
        """
        other = loaded.file != self._loaded.file
        leaving = [stage for stage in STAGES if stage in self.children and (other or stage not in stages)]
        if other:
            self._take_over(loaded)
            self._engine = self._engine or configuration.embedded_clickhouse(loaded.workspace)
        if "collector" in leaving:
            await self._leave("collector", stages)
            leaving.remove("collector")
        await asyncio.gather(*(self._leave(stage, stages) for stage in leaving))
        self._start([stage for stage in stages if stage not in self.children])
        if other:
            self._watching.cancel()
            self._watch()
        self._write_up()

    async def _leave(self, stage: Stage, stages: Sequence[Stage]) -> None:
        await self.children[stage].stop(LEAVE_S)
        del self.children[stage]
        if stage in stages:
            self._start([stage])

    def _take_over(self, loaded: Loaded) -> None:
        self._loaded = loaded
        try:
            configuration.keep(loaded, self._options.data)
            configuration.remember(loaded.file, self._options.data)
        except OSError as error:  # a full disk must not end the supervisor
            logger.error("cannot note the workspace in run/: %s", error.strerror)  # noqa: TRY400

    def end(self) -> None:
        """Stop, as if asked to."""
        self._stop.set()

    def _command(self, stage: Stage, ready_fd: int) -> tuple[list[str], list[int]]:
        options = self._options
        handed = [self._lifeline]
        settings = StageSettings(
            stage=stage,
            dir=str(options.data.root),
            workspace=str(self._loaded.file),
            host=options.host,
            port=self._port,
            clickhouse_port=self._clickhouse_port,
            lifeline_fd=self._lifeline,
            ready_fd=ready_fd,
            log_style=options.log_style,
            log_level=options.log_level,
        )
        if stage == "collector":
            handed.append(self._listening.fileno())
            settings = msgspec.structs.replace(settings, listen_fd=self._listening.fileno())
        return self._command_line(settings), handed

    def _watch(self) -> None:
        def applied(loaded: Loaded) -> None:
            configuration.keep(loaded, self._options.data)
            if configuration.embedded_clickhouse(loaded.workspace) and not self._engine:
                self._engine = True
                self._write_up()

        reload = partial(configuration.read, self._loaded.file)
        self._watcher = Watcher(LiveWorkspace(self._loaded.workspace), self._loaded, reload, applied=applied)
        self._watching = self._tasks.create_task(self._watcher.run())

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._hurry)

    def _asked_to_stop(self) -> None:
        now = self._clock.monotonic()
        if self._asked_s is None:
            self._asked_s = now
        elif now - self._asked_s > AGAIN_S:
            logger.warning("asked again: killing the children; what was acknowledged is safe in the log")
            for child in self.children.values():
                child.signal(signal.SIGKILL)
        self._stop.set()

    def _hurry(self) -> None:
        self._watcher.hurry()
        self._relay.hurry()
        for child in self.children.values():
            if child.ready.is_set():  # earlier, it has no handler yet and will read the file anyway
                child.signal(signal.SIGHUP)

    async def _announce(self) -> None:
        for child in list(self.children.values()):
            await child.ready.wait()
        if (
            "destinations" in self.children
            and self._engine
            and not await _answers(self._clickhouse_port, CLICKHOUSE_S)
        ):
            logger.error(
                "ClickHouse does not answer on port %d yet; events are taken all the same",
                self._clickhouse_port,
            )
        try:
            print(f"ready http://{files.bracketed(self._options.host)}:{self._port}", flush=True)  # noqa: T201
        except BrokenPipeError:  # whoever started us need not read
            logger.debug("nobody reads stdout")
        except OSError as error:  # where our output goes is full: no reason to end what works
            logger.error("ready, and cannot say so on stdout: %s", error.strerror)  # noqa: TRY400

    def _write_up(self) -> None:
        up = files.Up(
            pid=os.getpid(),
            host=self._options.host,
            port=self._port,
            clickhouse_port=self._clickhouse_port if self._engine else None,
            workspace=str(Path(self._loaded.file).absolute()),
            started_ms=self._started_ms,
            children={stage: child.pid for stage, child in self.children.items() if child.pid is not None},
        )
        try:
            files.write_up(self._options.data, up)
        except OSError as error:  # a full disk must not end the supervisor
            logger.error("cannot write run/up.json: %s", error.strerror)  # noqa: TRY400

    async def _drain(self) -> bool:
        logger.info("stopping: no more events are taken, what is in flight is finished")
        self._listening.close()
        leaving = [self.children[stage] for stage in STAGES if stage in self.children]
        return all([await child.stop(LEAVE_S) for child in leaving])


async def _answers(port: int, seconds: float) -> bool:
    """Whether the embedded ClickHouse says Ok within the time."""
    try:
        async with asyncio.timeout(seconds):
            while not await _ping(port):  # noqa: ASYNC110 - another process: there is no event to wait for
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    return True


async def _ping(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        writer.write(b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
