"""How commands print: facts on stdout (text or JSON), everything else on stderr, exit codes from `headwater.run.exits`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from headwater.errors import AlreadyRunning, ConfigError, HeadwaterError
from headwater.run import exits

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


WIDE = 240  # columns of what is no terminal: a table in a file or a pipe loses no words


def complain(message: str) -> None:
    """A sentence on stderr."""
    print(f"headwater: {message}", file=sys.stderr)


def leave(code: int, message: str = "") -> NoReturn:
    """End the command with a code, saying why."""
    if message:
        complain(message)
    raise typer.Exit(code)


def code_of(error: HeadwaterError) -> int:
    """The exit code that fits an error."""
    from headwater.run.ports import PortUnavailable

    if isinstance(error, ConfigError):
        return exits.CONFIG
    return exits.OCCUPIED if isinstance(error, AlreadyRunning | PortUnavailable) else exits.FAILED


def emit_json(value: Any) -> None:
    """One JSON document on stdout; structs and dataclasses become objects."""
    import msgspec

    print(json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=2))


def console() -> Console:
    """Output for people: colours on a terminal only, nothing cut for a pipe; text is never read as markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDE
    return Console(markup=False, highlight=False, emoji=False, width=width)


def progress() -> Progress:
    """A progress display on stderr; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    stderr = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
