"""The client for threads and synchronous programs."""

from __future__ import annotations

import time

from headwater_sdk import _exit, _options
from headwater_sdk._calls import Calls
from headwater_sdk._core import Core
from headwater_sdk._http import HttpTransport
from headwater_sdk._log import log
from headwater_sdk._pipeline import Pipeline
from headwater_sdk._record import t
from headwater_sdk._report import DeliveryError, FlushReport
from headwater_sdk._shell import Shell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from headwater_sdk._report import Event

FLUSH_S = 30.0


class Client(Calls):
    """Sends events from a background thread, or with `sync_mode` within each call.

    No call raises into the app unless `strict`; the constructor does when key or host are missing. What does not arrive
    is reported by `flush()` and to `on_error(error, events)`.
    """

    def __init__(
        self,
        write_key: t.Optional[str] = None,
        host: t.Optional[str] = None,
        debug: bool = False,
        max_queue_size: int = 10_000,
        send: bool = True,
        on_error: t.Optional[t.OnError] = None,
        gzip: bool = False,
        max_retries: int = 10,
        sync_mode: bool = False,
        timeout: float = 15,
        proxies: t.Optional[dict[str, str]] = None,
        thread: int = 1,
        upload_size: int = 100,
        upload_interval: float = 0.5,
        log_handler: t.Any = None,
        *,
        overflow: str = "drop_oldest",
        max_queue_bytes: int = 32 << 20,
        block_timeout: t.Optional[float] = None,
        spill_dir: t.Optional[str] = None,
        spill_max_bytes: int = 256 << 20,
        durable: bool = False,
        strict: bool = False,
        exit_timeout: float = 5.0,
        ssl_context: t.Optional[t.SSLContext] = None,
        **segment_options: t.Any,
    ) -> None:
        """`timeout` bounds one request, and in `sync_mode` a whole call with its retries."""
        _options.ignore({"thread": thread, **segment_options})
        _options.set_up_logging(debug, log_handler)
        settings = _options.Settings(
            _options.target(
                write_key, host, gzip=gzip, timeout=timeout, proxies=proxies, ssl_context=ssl_context
            ),
            _options.limits(
                upload_size, upload_interval, max_queue_size, max_queue_bytes, overflow, max_retries
            ),
            _options.disk(overflow, spill_dir, spill_max_bytes, durable=durable),
            *(_options.hearer(on_error), debug, send, strict, exit_timeout, block_timeout),
        )

        self._configure(settings)
        self.on_error, self.max_queue_size, self.max_retries = on_error, max_queue_size, max_retries
        self.gzip, self.timeout, self.sync_mode = gzip, timeout, sync_mode
        self._pipeline = Pipeline(shell(settings), threaded=not sync_mode, exit_timeout=exit_timeout)
        _exit.watch(self._pipeline)

    @property
    def log(self) -> t.Logger:
        """The logger that says what is not delivered, and in debug mode what is."""
        return log()

    @property
    def queued(self) -> int:
        """How many events wait."""
        return self._pipeline.core.waiting

    def flush(self, timeout: t.Optional[float] = FLUSH_S) -> FlushReport:
        """Wait until all events called before are settled, at most `timeout` seconds (None: without limit).

        The report says what was delivered, rejected and dropped since the report before, and what is still queued.
        """
        return self._pipeline.flush(timeout)

    def join(self, timeout: t.Optional[float] = FLUSH_S) -> FlushReport:
        """Do what `shutdown` does."""
        return self.shutdown(timeout)

    def shutdown(self, timeout: t.Optional[float] = FLUSH_S) -> FlushReport:
        """Flush, end the thread and close the connection. What could not be sent is spilled, or dropped and reported.

        A call after that starts anew, so that no event is lost to the order in which a program ends.
        """
        return self._pipeline.close(timeout)

    close = shutdown

    def __enter__(self) -> Client:  # noqa: PYI034 - typing.Self is from Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def _put(self, event: bytes) -> bool:
        pipeline = self._pipeline
        if not self.sync_mode:
            return pipeline.put(event) is True
        awaited = pipeline.core.ledger.awaited  # by event: other threads' events have fates of their own
        awaited.add(event)
        pipeline.put(event)
        pipeline.deliver(time.monotonic() + self.timeout)
        done = event not in awaited
        awaited.discard(event)
        if self.strict and not done:
            raise DeliveryError("not_delivered", "the event was not delivered in time; flush() reports why")
        return done

    def _note_refused(self, message: Event, code: str, why: str) -> None:
        self._pipeline.note_refused(message, code, why)
        if self.sync_mode:
            self._pipeline.deliver(time.monotonic() + self.timeout)

    def _warn(self, texts: list[str]) -> None:
        self._pipeline.warn(texts)


def _chance() -> float:
    import random  # a quarter of the package's import time, for the first retry

    return random.random()  # noqa: S311 - spreads retries


def shell(settings: _options.Settings) -> Shell:
    """Return what a pipeline needs for these settings, with the machine's own clock, chance and network."""

    def core() -> Core:
        return Core(settings.limits, time.monotonic, time.time, _chance, settings.disk(settings.target))

    return Shell(
        core=core,
        transport=lambda: HttpTransport(settings.target),
        target=settings.target,
        monotonic=time.monotonic,
        wall=time.time,
        on_error=settings.on_error,
        block_timeout=settings.block_timeout,
        debug=settings.debug,
    )
