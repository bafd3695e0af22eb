"""Drives a `Core` with a thread, or in the calling thread (synchronous mode, and at exit when there is no thread).

One condition guards everything. Its lock is re-entrant, because a signal handler may call `track()` while its own thread is
in here; what comes in that way waits in `_late` until the interrupted code is through.
"""

from __future__ import annotations

import threading
from collections import deque

from headwater_sdk._exit import keep
from headwater_sdk._log import log
from headwater_sdk._news import tell
from headwater_sdk._preload import preload
from headwater_sdk._report import merged
from headwater_sdk._time import iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from headwater_sdk._answers import Answer
    from headwater_sdk._core import Batch
    from headwater_sdk._report import Event, FlushReport
    from headwater_sdk._shell import Shell, Transport


JOIN_S = 0.2
TELL_AFTER = 5  # failed attempts of a batch, some seconds: a host that is wrong, or an outage, is worth a line in the log
IDLE_S = 10.0  # a thread without work ends after this; the next call starts another one


class Pipeline:
    """Events in, requests out. `threaded=False`: nothing is sent but in `deliver` and `flush`."""

    def __init__(self, shell: Shell, *, threaded: bool = True, exit_timeout: float = 5.0) -> None:
        self.shell = shell
        self.exit_timeout = exit_timeout
        self.threaded = threaded
        self.reset()

    def __del__(self) -> None:
        """Let no event vanish with a client that the app drops: without a thread nobody else holds this."""
        if self.core.waiting > 0 or self.core.ledger.news:
            keep(self)

    def reset(self) -> None:
        """Begin anew: at the start, and in a child after a fork, where thread, connection and events are the parent's."""
        self.core = self.shell.core()
        # How many events wait when one changes what the thread waits for: it is the first, or fills a request.
        self._telling = (1, self.core.limits.upload_size)
        self.transport = self.shell.transport()  # of calls that deliver themselves; a thread has its own
        self._transports = [self.transport]
        self._lock = threading.RLock()
        self._condition = self.shell.condition(self._lock)
        self._inside = False
        self._late: deque[bytes] = deque()
        self._thread: Optional[threading.Thread] = None
        self._sending = threading.Lock()
        self._sender = 0  # the thread that delivers outside of a delivery thread
        self._hurried = 0  # how many threads wait for events to be settled
        self._told = 0  # how many settled events on_error had its chance to hear of

    # --- in ---------------------------------------------------------------------------------------------------------

    def put(self, event: bytes, wait: bool = True) -> Optional[bool]:
        """Queue an event; False when it was refused; None, unless it may `wait`, when there is no room."""
        with self._lock:
            if self._inside:
                self._late.append(event)
                return True
            self._inside = True
            try:
                core = self.core
                kept = core.offer(event)
                if self.threaded:
                    waiting = core.accepted - core.settled
                    if waiting in self._telling or core.ledger.news or self._thread is None:
                        self._wake()
            finally:
                self._inside = False
                if self._late:
                    self._leave()
        if kept is None and wait:
            return self._wait_for_room(event)
        return kept

    def _leave(self) -> None:
        """Let calls in again; what a signal handler called until then is taken first."""
        self._inside = False
        while self._late:
            self._inside = True
            event = self._late.popleft()
            if self.core.offer(event) is None:  # a signal handler cannot wait for room
                self.core.refuse(event)
            self._wake()
            self._inside = False

    def note_refused(self, message: Event, code: str, why: str) -> None:
        """Note a message that is not sent; on_error hears of it."""
        with self.enter():
            self.core.ledger.reject(message, code, why)
            self._wake()

    def warn(self, texts: list[str]) -> None:
        """Note values that were sent as their text."""
        with self.enter():
            new = [text for text in texts if self.core.ledger.warn(text)]
        for text in new:
            log().warning("%s", text)

    def enter(self) -> _Section:
        """Hold the lock, safe against signal handlers that call `put`."""
        return _Section(self)

    def _wake(self) -> None:
        """Let the thread look at what there is; start it when there is none."""
        if self._thread is None:
            self._start()
        else:
            self._condition.notify_all()

    def _start(self) -> None:
        if not self.threaded:
            return
        thread = threading.Thread(target=self._run, name="headwater-sdk", daemon=True)
        try:
            self._thread = thread
            thread.start()
        except (
            RuntimeError
        ):  # no threads here (some WSGI hosts, interpreter shutdown): flush and exit deliver
            self._thread = None

    def _wait_for_room(self, event: bytes) -> bool:
        timeout = self.shell.block_timeout
        deadline = None if timeout is None else self.shell.monotonic() + timeout
        while not self._own_thread():  # on_error may call track(): it must not wait for itself
            self._room(deadline)
            kept = self.put(event, wait=False)
            if kept is not None:
                return kept
            if deadline is not None and self.shell.monotonic() >= deadline:
                break
        with self.enter():
            self.core.refuse(event)
            self._wake()
        return False

    def _room(self, deadline: Optional[float]) -> None:
        with self.enter():
            alive = self._thread is not None
            if alive:
                self._await_settled(self.core.settled + 1, deadline)
        if not alive:
            self.deliver(deadline, once=True)

    def _pause(self, seconds: Optional[float]) -> None:
        """Let the lock go until something changes."""
        self._inside = False
        try:
            self._condition.wait(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
        finally:
            self._inside = True

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        me, transport = threading.current_thread(), self.shell.transport()
        self._transports.append(transport)
        try:
            preload()
            while self._await_work(me):
                with self.enter():
                    batch = self.core.take() if self.core.due(urgent=self._hurried > 0) == 0 else None
                if batch is not None:
                    self._exchange(batch, transport)
                self._tell()
        finally:
            transport.close()
            with self.enter():
                self._transports.remove(transport)
                if self._thread is me:
                    self._thread = None
                self._condition.notify_all()  # nobody shall wait for a thread that is gone

    def _await_work(self, me: threading.Thread) -> bool:
        """Wait until a request is due or there is news for on_error; False when the thread shall end."""
        idle_until = self.shell.monotonic() + IDLE_S
        with self.enter():
            while self._thread is me:
                due = self.core.due(urgent=self._hurried > 0)
                if due == 0 or self.core.ledger.news:
                    return True
                if due is None:
                    due = idle_until - self.shell.monotonic()
                    if due <= 0:
                        self._thread = (
                            None  # under the lock: whoever queues the next event starts another thread
                        )
                        break
                self._pause(due)
        return False

    # --- out --------------------------------------------------------------------------------------------------------

    def _exchange(self, batch: Batch, transport: Transport, within: Optional[float] = None) -> None:
        """Send a batch and take note of the answer, without the lock while the server thinks."""
        try:
            answer = transport.send(self.body(batch), batch.attempts, within)
        except BaseException:
            with self.enter():
                self.core.restore(batch)
            raise
        self.note(batch, answer)

    def body(self, batch: Batch) -> bytes:
        """Write the request's body, with `sentAt` now."""
        return self.shell.target.body(batch.events, iso(self.shell.wall()))

    def note(self, batch: Batch, answer: Answer) -> None:
        """Take note of an answer."""
        attempt = batch.attempts + 1
        with self.enter():
            what = self.core.settle(batch, answer)
        if batch.attempts == TELL_AFTER and what in ("free", "counted"):
            log().warning(
                "%s events wait: %s gives no 2xx but %s; it is tried again",
                *(
                    self.core.waiting,
                    self.shell.target.url.geturl(),
                    answer.reason or f"HTTP {answer.status}",
                ),
            )
        if self.shell.debug:
            log().debug(
                "sent %s events, attempt %s: HTTP %s %s-> %s",
                *(len(batch.events), attempt, answer.status, answer.reason, what),
            )

    def _tell(self) -> None:
        """Let on_error hear of what went wrong, then wake who waits in flush."""
        me, telling = threading.get_ident(), self.core.ledger.telling
        nested = me in telling  # on_error has called flush or close
        with self.enter():
            news, more = self.core.ledger.take_news()
            settled = self.core.settled
            telling.add(me)
        try:
            tell(self.shell.on_error, news, more)
        finally:
            with self.enter():
                if not nested:
                    telling.discard(me)
                self._told = settled
                self._condition.notify_all()

    def deliver(self, deadline: Optional[float], *, once: bool = False) -> None:
        """Deliver in this thread until nothing waits (`once`: one request) or the deadline makes waiting useless."""
        if self._sender == threading.get_ident():
            return  # from on_error or a signal handler: the loop below will come to it
        left = self._left(deadline)
        if not self._sending.acquire(
            timeout=-1 if left is None else min(max(0.0, left), threading.TIMEOUT_MAX)
        ):
            return
        self._sender = threading.get_ident()
        try:
            while self._step(deadline) and not once:
                pass  # the next request
        finally:
            self._sender = 0
            self._sending.release()

    def _left(self, deadline: Optional[float]) -> Optional[float]:
        return None if deadline is None else deadline - self.shell.monotonic()

    def _step(self, deadline: Optional[float]) -> bool:
        left = self._left(deadline)
        if left is not None and left <= 0:
            self._tell()
            return False
        with self.enter():
            due = self.core.due(urgent=True)
            if due is not None and due > 0:
                if left is not None and due > left:
                    return False
                self._pause(due)
                return True
            batch = self.core.take() if due is not None else None
        if batch is not None:
            self._exchange(batch, self.transport, left)
        self._tell()
        return batch is not None

    # --- flush and end ----------------------------------------------------------------------------------------------

    def flush(self, timeout: Optional[float]) -> FlushReport:
        """Wait until what was called before is settled, and report; after `timeout` seconds report what still waits."""
        deadline = None if timeout is None else self.shell.monotonic() + timeout
        if self._own_thread():
            return self.report()
        with self.enter():
            if self._thread is None and not self._settled(self.core.accepted):
                self._start()
            alive = self._thread is not None
            if alive:
                self._await_settled(self.core.accepted, deadline)
        if not alive:
            self.deliver(deadline)
        return self.report()

    def _own_thread(self) -> bool:
        return threading.current_thread() is self._thread or self._sender == threading.get_ident()

    def _await_settled(self, target: int, deadline: Optional[float]) -> None:
        """Hurry the thread and wait until so many events are settled, and on_error has heard of them."""
        self._hurried += 1
        self._condition.notify_all()
        try:
            while self._thread is not None and not self._settled(target):
                left = self._left(deadline)
                if left is not None and left <= 0:
                    return
                self._pause(left)
        finally:
            self._hurried -= 1

    def _settled(self, target: int) -> bool:
        if self.core.ledger.news:
            return False
        if self.core.disk is not None:  # events of dead processes join the count: wait until nothing is left
            return self.core.idle() and self._told >= self.core.settled
        return self._told >= target

    def report(self) -> FlushReport:
        """Return what was settled since the last report."""
        with self.enter():
            return self.core.ledger.report(self.core.waiting)

    def close(self, timeout: Optional[float]) -> FlushReport:
        """Flush, end the thread, and give up what could not be delivered in time. A later call begins anew."""
        report = self.flush(timeout)
        if self._own_thread():
            return report
        with self.enter():
            on_disk = self.core.give_up()
            thread, self._thread = self._thread, None
            self._condition.notify_all()
        if thread is None:
            self.transport.close()
        else:
            thread.join(JOIN_S)  # at once, unless the server keeps it waiting
        self._tell()
        return merged(report, self.report())._replace(queued=on_disk)

    # --- what _exit tells -------------------------------------------------------------------------------------------

    def at_exit(self, timeout: float) -> None:
        """Deliver within so many seconds; what is left is spilled, or reported as dropped."""
        if self.core.waiting or self.core.ledger.news:
            self.close(timeout)
        elif self.core.disk is not None:
            self.core.disk.close()

    def after_fork(self) -> None:
        """Begin anew in a child. Only its copies of the sockets are closed: the parent's connections go on."""
        for transport in self._transports:
            transport.close()
        self.reset()


class _Section:
    """`with pipeline.enter():`; a class, because `contextlib` costs an import and a call more."""

    __slots__ = ("_pipeline", "_was_inside")

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __enter__(self) -> None:
        self._pipeline._condition.acquire()  # noqa: SLF001
        self._was_inside = self._pipeline._inside  # noqa: SLF001
        self._pipeline._inside = True  # noqa: SLF001

    def __exit__(self, *_: object) -> None:
        if not self._was_inside:
            self._pipeline._leave()  # noqa: SLF001
        self._pipeline._condition.release()  # noqa: SLF001
