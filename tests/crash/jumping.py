"""`headwater` with a wall clock that jumps when told to: `python -m tests.crash.jumping FILE ARGUMENTS...`.

FILE holds a double: seconds added to the wall clock, read at every look at it. The monotonic clock is left alone, as a
machine's is when its time is set.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

_OFFSET = struct.Struct("d")


def jump(file: Path, seconds: float) -> None:
    """Set how far the clock of the process with this file is off."""
    with file.open("r+b" if file.exists() else "w+b") as stream:
        stream.write(_OFFSET.pack(seconds))


def install(file: Path) -> None:
    """Let `time.time` and `time.time_ns` of this process follow the file."""
    with file.open("rb") as stream:
        held = mmap.mmap(stream.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    real, real_ns = time.time, time.time_ns

    def offset() -> float:
        return float(_OFFSET.unpack_from(held)[0])

    time.time = lambda: real() + offset()
    time.time_ns = lambda: real_ns() + int(offset() * 1e9)


if __name__ == "__main__":
    install(Path(sys.argv.pop(1)))
    from headwater.cli import main  # after the clock: nothing may have taken the real one

    sys.argv[0] = "headwater"
    main()
