"""A client's settings: segment-analytics-python's names where it has them, checked once."""

from __future__ import annotations

import os

from headwater_sdk._core import Limits
from headwater_sdk._http import Target
from headwater_sdk._log import log
from headwater_sdk._record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any, Callable, Optional

    from headwater_sdk._shell import Disk
    from headwater_sdk._types import OnError

_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE; `inspect` takes longer to import than the rest of the package
_LONGEST_TIMEOUT_S = 86_400  # what a socket takes is bounded too
POLICIES = ("drop_oldest", "drop_newest", "block", "spill")
# Options of segment-analytics-python that have no effect here, with the reason.
WITHOUT_EFFECT = {
    "thread": "one connection keeps the order of events",
    "max_total_backoff_duration": "an outage is waited out, the bound of the queue is the limit",
    "max_rate_limit_duration": "an outage is waited out, the bound of the queue is the limit",
}


class Settings(NamedTuple):
    """The checked settings of a client."""

    target: Target
    limits: Limits
    disk: Callable[[Target], Optional[Disk]]
    on_error: Optional[OnError] = None
    debug: bool = False
    send: bool = True
    strict: bool = False
    exit_timeout: float = 5.0
    block_timeout: Optional[float] = None


def target(
    write_key: Optional[str],
    host: Optional[str],
    *,
    gzip: bool,
    timeout: float,
    proxies: Optional[dict[str, str]],
    ssl_context: Optional[ssl.SSLContext],
) -> Target:
    """Return where to send; ValueError when key or host are missing or unusable."""
    from urllib.parse import urlsplit

    write_key = write_key or os.environ.get("HEADWATER_WRITE_KEY")
    if not write_key or not isinstance(write_key, str):
        raise ValueError(
            f"write_key is {write_key!r}; pass the write key of a source, or set HEADWATER_WRITE_KEY"
        )
    host = host or os.environ.get("HEADWATER_HOST")
    if isinstance(host, str):
        host = host.strip()  # the line end of a settings file
    if not host or not isinstance(host, str):
        raise ValueError(
            f"host is {host!r}; pass the collector's URL, like http://localhost:8080, or set HEADWATER_HOST"
        )
    url = urlsplit(host)
    try:
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
        # What http.client would refuse at each request, or what would get lost.
        usable = usable and host.isprintable() and " " not in host and url.path.isascii()
        usable = usable and not (url.query or url.fragment)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"host is {host!r}; it must be an http or https URL, like http://localhost:8080")
    if not 0 < timeout <= _LONGEST_TIMEOUT_S:
        raise ValueError(
            f"timeout is {timeout!r}; it must be seconds above 0, and at most {_LONGEST_TIMEOUT_S:,}"
        )
    return Target(url, write_key, gzip, float(timeout), proxies, ssl_context)


def limits(
    upload_size: int,
    upload_interval: float,
    max_queue_size: int,
    max_queue_bytes: int,
    overflow: str,
    max_retries: int,
) -> Limits:
    """Return the bounds of the queue and of requests; ValueError where one makes no sense."""
    if overflow not in POLICIES:
        raise ValueError(f"overflow is {overflow!r}; it must be one of {', '.join(POLICIES)}")
    for name, value, least in (
        ("upload_size", upload_size, 1),
        ("upload_interval", upload_interval, 0),
        ("max_queue_size", max_queue_size, 1),
        ("max_queue_bytes", max_queue_bytes, 1),
        ("max_retries", max_retries, 0),
    ):
        if not value >= least:
            raise ValueError(f"{name} is {value!r}; it must be at least {least}")
    return Limits(upload_size, upload_interval, max_queue_size, max_queue_bytes, overflow, max_retries)


def disk(
    overflow: str, directory: Optional[str], max_bytes: int, *, durable: bool
) -> Callable[[Target], Optional[Disk]]:
    """Return what makes the part of the queue that is on disk: none, unless overflow is `spill` or it is durable."""
    wanted = overflow == "spill" or durable
    if wanted != (directory is not None):
        raise ValueError(
            f"spill_dir is {directory!r}, overflow {overflow!r}, durable {durable!r}; a spill_dir is needed for"
            ' overflow="spill" and durable=True, and for nothing else'
        )

    def make(target: Target) -> Optional[Disk]:
        if directory is None:
            return None
        from hashlib import sha256

        from headwater_sdk._disk import SpillDisk
        from headwater_sdk._spill import Spill

        # A folder for each source: what a client left there, one with another write key must not send as its own. The host
        # does not matter, since a collector may move.
        folder = os.path.join(directory, sha256(target.write_key.encode()).hexdigest()[:16])  # noqa: PTH118 - slow to import
        return SpillDisk(Spill(folder, max_bytes), durable=durable)

    return make


def hearer(on_error: Optional[OnError]) -> Optional[OnError]:
    """Return on_error as it is; ValueError for an `async def`, which nobody would await and so would never hear anything."""
    code = getattr(on_error, "__code__", None)
    if code is not None and code.co_flags & _CO_COROUTINE:
        raise ValueError(f"on_error is {on_error!r}; it must be a plain function, which may start a task")
    return on_error


def set_up_logging(debug: bool, handler: Any) -> None:
    """Attach a handler, and let debug mode print each call and its delivery."""
    if not debug and handler is None:
        return
    import logging

    logger = log()
    if handler is not None and handler not in logger.handlers:
        logger.addHandler(handler)
    if debug:
        logger.setLevel(logging.DEBUG)
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler())


def ignore(options: dict[str, Any]) -> None:
    """Accept options that a Segment client was given and that do nothing here; TypeError for any other name."""
    for name, value in options.items():
        if name.startswith("oauth_"):
            if value is not None and name not in ("oauth_auth_server", "oauth_scope"):
                raise ValueError(f"{name} is set; Headwater has no OAuth, a source's write key is enough")
        elif name not in WITHOUT_EFFECT:
            raise TypeError(f"{name} is no option of headwater_sdk.Client")
        elif not (name == "thread" and value == 1):
            log().warning("%s has no effect: %s", name, WITHOUT_EFFECT[name])
