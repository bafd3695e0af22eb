"""Exit codes of every command; docs/operator/cli.md lists them (a test compares)."""

from __future__ import annotations

OK = 0
FAILED = 1  # problems were found, or some of what was asked could not be done
CONFIG = 2  # wrong usage, or a workspace that cannot be used
NOT_RUNNING = 3  # nothing runs on the folder, or it cannot be reached
OCCUPIED = 4  # the folder or the port is in use

MEANINGS = {
    OK: "done",
    FAILED: "problems were found, or some of what was asked could not be done",
    CONFIG: "wrong usage, or a workspace that cannot be used",
    NOT_RUNNING: "nothing runs on the folder, or it cannot be reached",
    OCCUPIED: "the folder or the port is in use",
}
