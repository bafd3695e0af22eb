"""One child process that is kept alive: started, started again with backoff when it dies, stopped in good order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence

from headwater.clock import Clock
from headwater.run.settings import Stage, name_of

logger = logging.getLogger(__name__)

FIRST_S = 0.1  # a kill -9 is over before a client's connection times out
LONGEST_S = 10.0
STABLE_S = 5.0  # having run for this long, a child starts afresh with the shortest pause
Command = Callable[
    [int], tuple[list[str], Sequence[int]]
]  # ready descriptor -> command line, descriptors to hand over


class Child:
    """Keeps one stage running. `keep` is the task; `ready` is set while the stage says that it works."""

    def __init__(self, stage: Stage, command: Command, clock: Clock, changed: Callable[[], None]) -> None:
        self.stage, self._command, self._clock, self._changed = stage, command, clock, changed
        self._name = name_of(stage)
        self.ready = asyncio.Event()
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._code = 0
        self._stopping = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep(self) -> None:
        """Run the child again and again until `stop`."""
        pause = FIRST_S
        try:
            while not self._stopping.is_set():
                began = self._clock.monotonic()
                self._code = await self._once()
                if self._clock.monotonic() - began > STABLE_S:
                    pause = FIRST_S
                if not self._stopping.is_set():
                    await self._rest(pause)
                    pause = min(pause * 2, LONGEST_S)
        finally:
            self._gone.set()

    async def _rest(self, pause: float) -> None:
        self.restarts += 1
        logger.error("the %s %s; starting it again in %.1f s", self._name, _ended(self._code), pause)
        self._code = 0  # told; it says nothing about how the child leaves
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stopping.wait()

    async def _once(self) -> int:
        reading, writing = os.pipe()
        try:
            arguments, descriptors = self._command(writing)
            self._process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(*descriptors, writing),
                start_new_session=True,  # Ctrl-C in the terminal is the supervisor's to handle, in its order
            )
        except OSError as error:
            logger.error("cannot start the %s: %s", self._name, error.strerror)  # noqa: TRY400
            os.close(reading)
            return 127
        finally:
            os.close(writing)
        if self._stopping.is_set():  # asked while it was being started
            self.signal(signal.SIGTERM)
        self._changed()
        try:
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(self._listen(reading))
                code = await self._process.wait()
                telling.cancel()
        finally:
            self.ready.clear()
            self._changed()
        return code

    async def _listen(self, reading: int) -> None:
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        loop.add_reader(reading, told.set)
        try:
            await told.wait()
            if os.read(reading, 1):
                self.ready.set()
        finally:
            loop.remove_reader(reading)
            os.close(reading)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the child runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, seconds: float) -> bool:
        """Ask the child to leave; kill it after `seconds`. Whether it left by itself, with nothing to complain about."""
        starting = not self.ready.is_set()
        self._stopping.set()
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            logger.error("the %s did not leave within %.0f s; killing it", self._name, seconds)  # noqa: TRY400
            self.signal(signal.SIGKILL)
            await self._gone.wait()
        if starting and self._code == -signal.SIGTERM:  # it had no handler yet, and nothing in flight
            return True
        if self._code:
            logger.error("the %s %s while leaving", self._name, _ended(self._code))
        return self._code == 0


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
