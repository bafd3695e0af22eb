"""Imports what delivery needs, off the app's path, and keeps forks out meanwhile.

A fork while another thread is in the middle of an import leaves the child with half a module. So the delivery thread
imports everything at once under a lock that a fork waits for.
"""

from __future__ import annotations

import os
import threading

_LONGEST_WAIT_S = 10.0  # longer than any import; a fork is late rather than never

_lock = threading.Lock()
_done = False


def preload_now() -> None:
    """Import, on the app's thread, what must not be imported by another one while a fork waits: it has fork hooks too."""
    import logging  # noqa: F401


def preload() -> None:
    """Import all that delivery will need later."""
    global _done  # noqa: PLW0603 - modules are imported once per process
    if _done:
        return
    with _lock:
        import base64  # noqa: F401
        import email.utils  # noqa: F401
        import gzip  # noqa: F401
        import json  # noqa: F401
        import random  # noqa: F401
        import ssl  # noqa: F401
        import urllib.parse
        import urllib.request  # noqa: F401

        "collector".encode("idna")  # what a socket does with a host's name
        _done = True


def _before_fork() -> None:
    _lock.acquire(timeout=_LONGEST_WAIT_S)


def _after_fork_in_parent() -> None:
    if _lock.locked():
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - whoever held it is not here
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
