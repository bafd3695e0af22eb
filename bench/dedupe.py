"""The dedupe memory: bytes a key and microseconds a lookup, against a bare Python set as the floor.

    python -m bench.dedupe [--keys 10000000] [--days 30]

Prints one JSON object. `ram` is anonymous memory (what the process cannot give back), `mapped` the pages of the state file
that were touched (page cache, evictable), `disk` the size of the file. The write-behind buffer is counted in `ram`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from headwater.state.lmdb import LmdbState, open_state
from headwater.state.protocol import FINGERPRINT_BYTES
from processors.dedupe import Memory, fingerprint
from processors.partition import FLUSH_KEYS

FIRST_DAY = 20_000
PROBES = 200_000


def resident() -> tuple[int, int]:
    """Anonymous and file-backed resident memory of this process, in bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    anonymous, mapped = (int(status[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return anonymous, mapped


def chunks(keys: int, days: int) -> Iterator[tuple[list[bytes], int]]:
    """Fingerprints in the order they would arrive, with the day of each chunk."""
    for at in range(0, keys, FLUSH_KEYS):
        size = min(FLUSH_KEYS, keys - at)
        drawn = os.urandom(size * FINGERPRINT_BYTES)
        day = FIRST_DAY + at * days // keys
        yield [drawn[i : i + FINGERPRINT_BYTES] for i in range(0, len(drawn), FINGERPRINT_BYTES)], day


def fill(state: LmdbState, keys: int, days: int) -> tuple[float, float, list[bytes], list[bytes]]:
    """Write all keys behind; CPU seconds, longest commit, the first and the last chunk."""
    longest = 0.0
    first: list[bytes] = []
    last: list[bytes] = []
    memory = Memory(state.seen)
    began = time.process_time()
    for last, day in chunks(keys, days):
        first = first or last
        for key in last:
            memory.admit(key, day, days)
        commit = time.perf_counter()
        state.commit(puts={}, seen=memory.drain().items(), folded={}, expire_before_day=day - days - 1)
        longest = max(longest, time.perf_counter() - commit)
    return time.process_time() - began, longest, first, last


def lookup(has: Callable[[bytes], bool], probes: list[bytes]) -> float:
    """Microseconds a lookup."""
    began = time.process_time()
    for probe in probes:
        has(probe)
    return (time.process_time() - began) / len(probes) * 1e6


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keys", type=int, default=10_000_000)
    options.add_argument("--days", type=int, default=30)
    chosen = options.parse_args()
    unknown = [os.urandom(FINGERPRINT_BYTES) for _ in range(PROBES)]
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        before, mapped_before = resident()
        state = open_state(Path(folder) / "0")
        seconds, longest, first, last = fill(state, chosen.keys, chosen.days)
        gc.collect()
        anonymous, mapped = resident()
        floor = set(unknown)
        result = {
            "keys": chosen.keys,
            "days": chosen.days,
            "ram_bytes_per_key": round((anonymous - before) / chosen.keys, 2),
            "filter_bytes_per_key": round(state.seen.ram_bytes / chosen.keys, 2),
            "disk_bytes_per_key": round((Path(folder) / "0" / "data.mdb").stat().st_size / chosen.keys, 2),
            "mapped_bytes_per_key": round((mapped - mapped_before) / chosen.keys, 2),
            "admit_and_write_us": round(seconds / chosen.keys * 1e6, 2),
            "longest_commit_s": round(longest, 3),
            "fingerprint_us": round(lookup(lambda _: bool(fingerprint("web", "x" * 36)), unknown), 2),
            "lookup_new_us": round(lookup(lambda key: state.seen.has(key, 0), unknown), 2),
            "lookup_recent_duplicate_us": round(lookup(lambda key: state.seen.has(key, 0), last), 2),
            "lookup_oldest_duplicate_us": round(lookup(lambda key: state.seen.has(key, 0), first), 2),
            "floor_set_lookup_us": round(lookup(lambda key: key in floor, unknown), 2),
        }
        state.close()
        began = time.perf_counter()
        again = open_state(Path(folder) / "0")
        again.seen.contains(unknown[:2000], 0)
        result["open_and_first_lookups_s"] = round(time.perf_counter() - began, 2)
        again.close()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
