"""The client for asyncio: no thread, one task while there is something to send."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Optional, Protocol

from headwater_sdk import _exit, _options
from headwater_sdk._ahttp import AsyncTransport, check
from headwater_sdk._answers import Answer
from headwater_sdk._calls import Calls
from headwater_sdk._client import FLUSH_S, shell
from headwater_sdk._core import Batch
from headwater_sdk._log import log
from headwater_sdk._pipeline import Pipeline
from headwater_sdk._preload import preload
from headwater_sdk._record import t
from headwater_sdk._report import FlushReport, merged

if TYPE_CHECKING:
    from headwater_sdk._report import Event
    from headwater_sdk._shell import Shell


PAUSE_S = 0.05
_REACTION_S = 1.0  # how much longer than it was told another loop may take


class Sender(Protocol):
    """Sends one request on the running loop."""

    async def send(self, body: bytes, attempts: int) -> Answer:
        """Return the answer, with status 0 where none came."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class AsyncPipeline(Pipeline):
    """Queues like a Pipeline from any thread, and delivers in a task of the loop that uses it.

    What a loop leaves behind when it ends is delivered at exit by the synchronous part.
    """

    def __init__(self, shell: Shell, sender: Callable[[], Sender], *, exit_timeout: float) -> None:
        self._new_sender = sender
        super().__init__(shell, threaded=False, exit_timeout=exit_timeout)

    def reset(self) -> None:
        """Begin anew, without the parent's loop."""
        super().reset()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def nudge(self) -> None:
        """Let the task look at the queue; from any thread, inside or outside of a loop."""
        running = _running_loop()
        if running is not None and self._claim(running):
            self._ensure(running)
        elif self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # closed meanwhile: the next loop sends the event, or the exit
                self._loop.call_soon_threadsafe(self._ensure, self._loop)

    def _claim(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Let `loop` be the one that sends, unless another one does: two would send the same events."""
        with self._lock:
            if loop is self._loop:
                return True
            if self._owned():
                return False
            self._loop, self._task, self._waiters = loop, None, []
            self._sender_now = self._new_sender()
            self._awake = asyncio.Event()
        self._restore()
        return True

    def _owned(self) -> bool:
        if self._loop is None or self._loop.is_closed():
            return False
        return self._loop.is_running() or (self._task is not None and not self._task.done())

    def _ensure(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return  # another one has taken over since this was asked for
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._deliver())
            self._task.add_done_callback(self._ended)
        else:
            self._awake.set()

    def _restore(self) -> None:
        with self.enter():
            self.core.interrupted()

    def _ended(self, _: asyncio.Task[None]) -> None:
        """Keep nobody waiting for a task that was cancelled."""
        for _target, waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _deliver(self) -> None:
        while True:
            self._awake.clear()
            with self.enter():
                due = self.core.due(urgent=bool(self._waiters))
                news = self.core.ledger.news
                batch = self.core.take() if due == 0 else None
            if batch is not None:
                await self._send(batch)
            elif due is None and not news:
                return
            elif due and not news:
                await self._sleep(due)
                continue
            self._tell()
            self._wake_flushers()
            if batch is None:
                await asyncio.sleep(0)  # news may come without an end, from other threads

    async def _send(self, batch: Batch) -> None:
        try:
            body = self.body(batch)
            answer = await self._sender_now.send(body, batch.attempts)
        except BaseException:  # cancelled: nothing is lost, and it was no attempt
            with self.enter():
                self.core.restore(batch)
            raise
        self.note(batch, answer)

    async def _sleep(self, seconds: float) -> None:
        assert self._loop is not None
        timer = self._loop.call_later(seconds, self._awake.set)
        try:
            await self._awake.wait()
        finally:
            timer.cancel()

    def _wake_flushers(self) -> None:
        for target, waiter in self._waiters:
            if not waiter.done() and self._settled(target):
                waiter.set_result(None)

    async def aflush(self, timeout: Optional[float]) -> FlushReport:
        """Wait until what was called before is settled, and report. Cancelling it cancels only the waiting."""
        if not self._claim(asyncio.get_running_loop()):
            return await self._there(self.aflush, timeout)
        deadline = None if timeout is None else self.shell.monotonic() + timeout
        target = self.core.accepted
        while not self._settled(target):
            left = None if deadline is None else deadline - self.shell.monotonic()
            if left is not None and left <= 0:
                break
            await self._progress(target, left)
            if not self._settled(target):  # the task was cancelled, or the disk refuses: do not spin
                await asyncio.sleep(PAUSE_S)
        return self.report()

    async def _there(
        self, work: Callable[[Optional[float]], Coroutine[Any, Any, FlushReport]], timeout: Optional[float]
    ) -> FlushReport:
        """Let the loop that sends do it, and wait here. One that does not run, or is too busy, leaves all of it queued."""
        owner = self._loop
        if owner is None or not owner.is_running():
            log().warning("the event loop on which this AsyncClient sends does not run: nothing was flushed")
            return self.report()
        doing = asyncio.run_coroutine_threadsafe(work(timeout), owner)
        within = None if timeout is None else timeout + _REACTION_S
        done, _ = await asyncio.wait({asyncio.wrap_future(doing)}, timeout=within)
        if done:
            return doing.result()
        doing.cancel()
        return self.report()

    async def _progress(self, target: int, timeout: Optional[float]) -> None:
        """Hurry the task, and wait until it is through, has ended, or the time is over."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._ensure(loop)
        self._waiters.append((target, waiter))
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
            if (target, waiter) in self._waiters:
                self._waiters.remove((target, waiter))

    async def aclose(self, timeout: Optional[float]) -> FlushReport:
        """Flush, end the task and close the connection; what could not be sent is given up and reported."""
        if not self._claim(asyncio.get_running_loop()):
            return await self._there(self.aclose, timeout)
        report = await self.aflush(timeout)
        with self.enter():
            on_disk = self.core.give_up()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._loop is asyncio.get_running_loop():
            await self._sender_now.aclose()
        self._tell()
        return merged(report, self.report())._replace(queued=on_disk)

    def at_exit(self, timeout: float) -> None:
        """Deliver what the loop left behind when it ended."""
        self._restore()
        super().at_exit(timeout)


def _running_loop() -> Optional[asyncio.AbstractEventLoop]:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class AsyncClient(Calls):
    """Sends events from asyncio. The calls are those of `Client`: they only queue, so they are not awaited.

    Use it as `async with AsyncClient(...) as client:`, or `await client.close()` before the loop ends.
    """

    def __init__(
        self,
        write_key: Optional[str] = None,
        host: Optional[str] = None,
        *,
        debug: bool = False,
        max_queue_size: int = 10_000,
        send: bool = True,
        on_error: Optional[t.OnError] = None,
        gzip: bool = False,
        max_retries: int = 10,
        timeout: float = 15,
        proxies: Optional[dict[str, str]] = None,
        upload_size: int = 100,
        upload_interval: float = 0.5,
        log_handler: Any = None,
        overflow: str = "drop_oldest",
        max_queue_bytes: int = 32 << 20,
        spill_dir: Optional[str] = None,
        spill_max_bytes: int = 256 << 20,
        durable: bool = False,
        strict: bool = False,
        exit_timeout: float = 5.0,
        ssl_context: Optional[t.SSLContext] = None,
    ) -> None:
        """Take the options of `Client`, except those about threads; `on_error` is called on the loop."""
        if overflow == "block":
            raise ValueError(
                'overflow="block" would stop the event loop; use drop_oldest, drop_newest or spill'
            )
        preload()  # here, at the start of the program, and not on its loop
        _options.set_up_logging(debug, log_handler)
        settings = _options.Settings(
            _options.target(
                write_key, host, gzip=gzip, timeout=timeout, proxies=proxies, ssl_context=ssl_context
            ),
            _options.limits(
                upload_size, upload_interval, max_queue_size, max_queue_bytes, overflow, max_retries
            ),
            _options.disk(overflow, spill_dir, spill_max_bytes, durable=durable),
            *(_options.hearer(on_error), debug, send, strict, exit_timeout),
        )
        if send:
            check(settings.target)
        self._configure(settings)
        self._pipeline = AsyncPipeline(
            shell(settings), lambda: AsyncTransport(settings.target), exit_timeout=exit_timeout
        )
        _exit.watch(self._pipeline)

    @property
    def queued(self) -> int:
        """How many events wait."""
        return self._pipeline.core.waiting

    async def flush(self, timeout: Optional[float] = FLUSH_S) -> FlushReport:
        """Wait until all events called before are settled, at most `timeout` seconds, and report."""
        return await self._pipeline.aflush(timeout)

    async def close(self, timeout: Optional[float] = FLUSH_S) -> FlushReport:
        """Flush and close the connection; what could not be sent is spilled, or dropped and reported."""
        return await self._pipeline.aclose(timeout)

    shutdown = close

    async def __aenter__(self) -> AsyncClient:  # noqa: PYI034 - typing.Self is from Python 3.11
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _put(self, event: bytes) -> bool:
        kept = self._pipeline.put(event) is True
        self._pipeline.nudge()
        return kept

    def _note_refused(self, message: Event, code: str, why: str) -> None:
        self._pipeline.note_refused(message, code, why)
        self._pipeline.nudge()

    def _warn(self, texts: list[str]) -> None:
        self._pipeline.warn(texts)
