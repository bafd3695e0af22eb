"""What the crash test of a cluster says of a process that ended by itself."""

from __future__ import annotations

import json

from tests.crash.fleet import last_error


def line(level: str, message: str, **more: str) -> str:
    """As a stage logs it."""
    return json.dumps({"time": "t", "level": level, "message": message, **more})


def test_the_last_error_is_why_it_ended() -> None:
    """With its trace; what was told on the way out is not the reason."""
    lines = [line("error", "before"), line("error", "why", exception="Traceback"), line("warning", "leaving")]
    assert last_error(lines) == "why\nTraceback"


def test_a_process_that_ended_before_it_could_log_is_quoted() -> None:
    """Python prints the exception last."""
    assert (
        last_error([line("error", "before"), "Traceback:", "ImportError: no such name"])
        == "ImportError: no such name"
    )
    assert last_error([]) == "it has logged nothing"
