"""The ends of a process: a bounded wait at exit, and a fork after which parent and child both go on.

Pipelines are known weakly: one that is dropped with nothing to send goes away like any other object. While it has
something to send its thread keeps it, and one without a thread is kept here for the exit.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref

from headwater_sdk._preload import preload_now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Ends(Protocol):
        """What has to be told about exit and fork."""

        exit_timeout: float

        def at_exit(self, timeout: float) -> None:
            """Deliver within so many seconds."""
            ...

        def after_fork(self) -> None:
            """Begin anew in the child."""
            ...


_known: weakref.WeakSet[Any] = weakref.WeakSet()
_kept: list[Ends] = []
_MOST_KEPT = 1_000
_lock = threading.RLock()
_registered = False
# Their children leave with os._exit(), which runs no atexit handlers, but they have finalizers of their own.
_FORKERS = ("multiprocessing.util", "billiard.util")


def watch(ends: Ends) -> None:
    """Tell `ends` of exit and fork from now on."""
    global _registered  # noqa: PLW0603 - the interpreter has one list of handlers
    preload_now()
    with _lock:
        _known.add(ends)
        if not _registered:
            _registered = True
            atexit.register(_at_exit)
            if hasattr(os, "register_at_fork"):  # not on Windows
                os.register_at_fork(after_in_child=_after_fork)


def keep(ends: Ends) -> None:
    """Hold what is dropped with something to send until the exit; beyond 1,000 the oldest gives up, and reports it."""
    _kept.append(ends)
    if len(_kept) > _MOST_KEPT:
        _kept.pop(0).at_exit(0.0)


def _everyone() -> list[Ends]:
    return list({id(one): one for one in (*_kept, *_known)}.values())


def _at_exit() -> None:
    """Deliver what waits; all clients together take no longer than the most patient of them."""
    everyone = _everyone()
    until = time.monotonic() + max((one.exit_timeout for one in everyone), default=0.0)
    for one in everyone:
        one.at_exit(max(0.0, min(one.exit_timeout, until - time.monotonic())))


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it at the fork
    _lock = threading.RLock()
    for one in _everyone():
        one.after_fork()
    _kept.clear()
    for name in _FORKERS:
        module = sys.modules.get(name)
        if module is not None:
            module.register_after_fork(_CHILD, _finalize_with(module))
    signals = sys.modules.get("celery.signals")
    if signals is not None:  # a child of its prefork pool runs not even finalizers, it only says that it ends
        signals.worker_process_shutdown.connect(_at_the_end_of_a_pools_child, weak=False)


def _at_the_end_of_a_pools_child(**_: Any) -> None:
    _at_exit()


class _Child:
    """Somebody to register for: multiprocessing keeps its after-fork hooks by object."""


_CHILD = _Child()


def _finalize_with(module: Any) -> Any:
    def register(_: _Child) -> None:
        module.Finalize(None, _at_exit, exitpriority=100)

    return register
