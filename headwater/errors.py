"""Errors a caller can act on.

::

    HeadwaterError
    ├── ConfigError            headwater.yaml or a flag is wrong; carries file, line, column
    ├── AlreadyRunning         another process owns this data folder
    ├── LogError
    │   ├── LogUnavailable     the log cannot take a write now (disk full, broker away): answer 503, try again
    │   ├── Fenced             another owner has claimed this partition: stop, throw away what is in memory
    │   ├── OffsetOutOfRange   retention has passed the position asked for: loud, counted, never skipped silently
    │   └── Corrupt            stored bytes are not what was written: restore the file, nothing is skipped
    └── StateError
        └── SchemaMismatch     a state folder, or a row in the log, was written by another version: nothing is misread

What a destination answers (`Retry`, `Reject`, `Misconfigured`) is data, not an exception: see `headwater.plugin`.
Every message names the thing, the value received, the values allowed and the next step.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Self

_OF_PATHS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,  # a link to a disk that is not mounted
    errno.ELOOP,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
}


def unusable_path(error: BaseException) -> str | None:
    """What to say of a path that the machine does not let us use; None for any other error."""
    if not isinstance(error, OSError) or error.filename is None or error.errno not in _OF_PATHS:
        return None
    return f"cannot use {error.filename}: {error.strerror}; mend that, or name another folder with --dir"


class HeadwaterError(Exception):
    """Root of the errors Headwater raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration, with the place to mend it (line and column start at 1)."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """`file:line:column: message`, as compilers print it."""
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{where}: {self.message}" if where else self.message


class ConfigError(HeadwaterError):
    """A configuration that cannot be used; `problems` lists everything found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class AlreadyRunning(HeadwaterError):
    """Another process owns the resource; `pid` is its process id (0 if unknown)."""

    def __init__(self, message: str, pid: int = 0) -> None:
        self.pid = pid
        super().__init__(message)


class LogError(HeadwaterError):
    """Root of what the log raises."""


class LogUnavailable(LogError):
    """The log cannot take a write now; nothing was acknowledged."""


class Fenced(LogError):
    """A newer owner has claimed the partition; nothing of this transaction was written."""


class OffsetOutOfRange(LogError):
    """The position asked for is no longer (or not yet) in the log."""

    def __init__(self, topic: str, partition: int, offset: int, begin: int, end: int) -> None:
        self.topic, self.partition, self.offset, self.begin, self.end = topic, partition, offset, begin, end
        if offset > end:
            why = "what was read before is not there any more: the log was replaced by an older copy, or made anew"
        else:
            why = f"{max(0, begin - offset)} records were removed by retention before they were read"
        super().__init__(
            f"{topic}[{partition}]: offset {offset} is outside the log, which holds {begin} to {end}; {why}"
        )


class Corrupt(LogError):
    """Stored bytes fail their checksum: the disk or someone else changed the file. Nothing is skipped."""


class StateError(HeadwaterError):
    """Root of what the state store raises."""


class SchemaMismatch(StateError):
    """A state folder or a row in the log was written by another version of Headwater."""

    @classmethod
    def of(cls, what: str, error: Exception) -> Self:
        """For a row that cannot be read whole: going on would write it again without what it says."""
        return cls(
            f"{what} cannot be read ({error}): a newer Headwater has written it, or another program. "
            "Run the newest version of all hosts that work on this log here too"
        )
