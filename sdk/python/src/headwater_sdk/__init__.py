"""Send events to Headwater, or to any Segment-compatible API.

    import headwater_sdk as analytics

    analytics.write_key, analytics.host = "wk_...", "http://localhost:8080"
    analytics.track("user-1", "Signed Up", {"plan": "pro"})

The functions of this module use one default client, made at the first call from the settings below. A program with more
than one source makes a `Client` for each; asyncio programs use `AsyncClient`.
"""

from __future__ import annotations

import os
import threading

from headwater_sdk._client import FLUSH_S, Client
from headwater_sdk._context import bind
from headwater_sdk._log import log
from headwater_sdk._message import Refused
from headwater_sdk._record import t
from headwater_sdk._report import DeliveryError, Dropped, FlushReport, Rejected
from headwater_sdk._version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from headwater_sdk import b2b as b2b
    from headwater_sdk._async import AsyncClient

__all__ = [
    "AsyncClient", "Client", "DeliveryError", "Dropped", "FlushReport", "Refused", "Rejected", "alias", "bind",
    "default_client", "flush", "group", "identify", "join", "page", "screen", "shutdown", "track",
]  # fmt: skip
__version__ = VERSION

# Settings of the default client; the names are segment-analytics-python's where it has them. None: HEADWATER_WRITE_KEY and
# HEADWATER_HOST.
write_key: t.Optional[str] = None
host: t.Optional[str] = None
on_error: t.Optional[t.OnError] = None
debug = False
log_handler: t.Any = None
send = True
sync_mode = False
max_queue_size = 10_000
gzip = False
timeout: float = 15
max_retries = 10
proxies: t.Optional[dict[str, str]] = None
upload_size = 100
upload_interval = 0.5
overflow = "drop_oldest"
strict = False
options: dict[str, t.Any] = {}
"""Whatever else `Client` takes, by name."""

default_client: t.Optional[Client] = None
_making = threading.RLock()
_SETTINGS = (
    "write_key", "host", "on_error", "debug", "log_handler", "send", "sync_mode", "max_queue_size", "gzip", "timeout",
    "max_retries", "proxies", "upload_size", "upload_interval", "overflow", "strict",
)  # fmt: skip


def _after_fork() -> None:
    global _making  # noqa: PLW0603 - another thread may have held it at the fork
    _making = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def track(*args: t.Any, **kwargs: t.Any) -> t.Result:
    """Say that a user did something: `track(user_id, event, properties, ...)`; see `Client.track`."""
    return _call("track", args, kwargs)


def identify(*args: t.Any, **kwargs: t.Any) -> t.Result:
    """Say who a user is: `identify(user_id, traits, ...)`; see `Client.identify`."""
    return _call("identify", args, kwargs)


def group(*args: t.Any, **kwargs: t.Any) -> t.Result:
    """Say which account a user belongs to: `group(user_id, group_id, traits, ...)`; see `Client.group`."""
    return _call("group", args, kwargs)


def alias(*args: t.Any, **kwargs: t.Any) -> t.Result:
    """Say that two ids are one user: `alias(previous_id, user_id, ...)`; see `Client.alias`."""
    return _call("alias", args, kwargs)


def page(*args: t.Any, **kwargs: t.Any) -> t.Result:
    """Say that a user saw a page: `page(user_id, category, name, properties, ...)`; see `Client.page`."""
    return _call("page", args, kwargs)


def screen(*args: t.Any, **kwargs: t.Any) -> t.Result:
    """Say that a user saw a screen: `screen(user_id, category, name, properties, ...)`; see `Client.screen`."""
    return _call("screen", args, kwargs)


def flush(timeout: t.Optional[float] = FLUSH_S) -> t.Optional[FlushReport]:
    """Wait until all events are settled, and report; None where no client can be made."""
    client = _client()
    return client.flush(timeout) if client else None


def join(timeout: t.Optional[float] = FLUSH_S) -> t.Optional[FlushReport]:
    """Do what `shutdown` does."""
    return shutdown(timeout)


def shutdown(timeout: t.Optional[float] = FLUSH_S) -> t.Optional[FlushReport]:
    """Flush and end the thread; None where no client can be made."""
    client = _client()
    return client.shutdown(timeout) if client else None


def _call(method: str, args: tuple[t.Any, ...], kwargs: dict[str, t.Any]) -> t.Result:
    client = default_client or _client()
    if client is None:
        return False, {}
    result: t.Result = getattr(client, method)(*args, **kwargs)
    return result


def _client() -> t.Optional[Client]:
    """Return the default client, made from the settings above at the first use.

    Settings that cannot work are an error of the app's deployment; unless `strict` they are logged, and no call fails.
    """
    global default_client  # noqa: PLW0603 - the one optional global, as in Segment's module
    with _making:
        if default_client is None:
            chosen = {name: globals()[name] for name in _SETTINGS}
            try:
                default_client = Client(**chosen, **options)
            except (TypeError, ValueError) as error:
                if strict:
                    raise
                log().error("headwater_sdk sends nothing: %s", error)
        return default_client


def __getattr__(name: str) -> t.Any:
    """Import what costs time, or is not always used, when it is asked for."""
    if name == "b2b":
        import importlib

        return importlib.import_module("headwater_sdk.b2b")
    if name == "AsyncClient":
        from headwater_sdk._async import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
