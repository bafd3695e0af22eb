"""What a stage tells its memory allocators: events make no garbage cycles, and the next batch is as large as the last.

glibc gives the top of its heap back to the kernel whenever enough of it is free, and takes it again page by page for the
next batch: a tenth of what an event of a batch costs. So a bounded piece of it is kept.
"""

from __future__ import annotations

import ctypes
import gc

_GC_THRESHOLD = 20_000
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
KEPT_BYTES = 32 << 20


def tune_collector_of_garbage() -> None:
    """Look for cycles rarely, and never among what is loaded now."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 100)


def keep_heap() -> bool:
    """Let the allocator keep up to KEPT_BYTES of free heap; False where it is not glibc's, which then does as it likes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = {_M_TRIM_THRESHOLD: KEPT_BYTES, _M_TOP_PAD: KEPT_BYTES // 8, _M_MMAP_THRESHOLD: KEPT_BYTES}
    return 0 not in [mallopt(name, value) for name, value in wanted.items()]
