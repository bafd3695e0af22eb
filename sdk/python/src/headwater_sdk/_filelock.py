"""A lock on an open file that ends with the process, however it ends: the mark of a live owner."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _FAR = (
        1 << 30
    )  # Windows keeps others from reading a locked byte, so the lock is on one behind the content

    def try_lock(fd: int) -> bool:
        """Lock the file without waiting; False while another process, or another open of it here, has it."""
        os.lseek(fd, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(fd: int) -> bool:
        """Lock the file without waiting; False while another process, or another open of it here, has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
