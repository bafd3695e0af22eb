"""The dedupe memory on disk: sorted runs of fingerprints inside the state's LMDB environment, a filter in RAM before them.

Random inserts into a B-tree would rewrite a 4 KB page for each key. Instead each commit appends its fingerprints, sorted,
as one small run for each of 256 shards; eight runs of one shard, day and level are merged into one of the next level, so
that a key is rewritten a few times in its life, not once a neighbour. The day is in the run's name, not beside each key:
9 bytes a key on disk and 2 to 4 in RAM. A round-robin sweep, some shards a commit, removes days that have passed out of
the window, joins the runs of days that are over and fits the filters, so that no commit does much more than its share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any

import lmdb

from headwater.errors import StateError
from headwater.state import runs as sorted_runs
from headwater.state.runs import WIDTH

SHARDS = 256  # by the first byte, which is therefore not stored
FANOUT = 8
SWEEP_SHARDS = 16  # shards swept in one commit
_FIRST_CAPACITY = 1024  # fingerprints a shard: 0.5 MB of filters for a partition
_KEY = Struct(">BIBI")  # shard, day, level, sequence number

Txn = Any  # lmdb.Transaction[memoryview]; the package's types are not followed
Database = Any


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run is, and how many fingerprints it has."""

    key: bytes
    day: int
    level: int
    count: int


@dataclass(slots=True)
class Shard:
    """The runs of one shard, newest day first; the filter is built when it is first needed."""

    runs: list[Run] = field(default_factory=list)
    filter: sorted_runs.Filter | None = None

    @property
    def count(self) -> int:
        """Fingerprints in all runs."""
        return sum(run.count for run in self.runs)


@dataclass(slots=True)
class Changes:
    """What a transaction wrote, to be taken over by the table in RAM once it is committed."""

    runs: dict[int, list[Run]] = field(default_factory=dict)
    added: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))  # runs, by shard
    filters: dict[int, sorted_runs.Filter] = field(default_factory=dict)


class DiskSeen:
    """The seen table of one state folder. `reader` gives the read transaction in force."""

    def __init__(self, db: Database, reader: Callable[[], Txn], folder: Path) -> None:
        self._db = db
        self._folder = folder
        self._reader = reader
        self._shards = [Shard() for _ in range(SHARDS)]
        self._sequence = 0
        self._hand = 0
        self._load()

    def _load(self) -> None:
        for key, value in self._reader().cursor(self._db):
            shard, day, level, sequence = _KEY.unpack(key)
            self._shards[shard].runs.append(Run(bytes(key), day, level, len(value) // WIDTH))
            self._sequence = max(self._sequence, sequence)
        for one in self._shards:
            one.runs.sort(key=_newest_first)

    def has(self, fingerprint: bytes, since_day: int) -> bool:
        """Whether it was seen on `since_day` or later."""
        shard = self._shards[fingerprint[0]]
        if not shard.runs:
            return False
        try:
            if shard.filter is None:
                shard.filter = self._fit(self._reader(), shard.runs)
            return fingerprint in shard.filter and self._search(shard, fingerprint[1:], since_day)
        except lmdb.Error as error:
            raise unreadable(self._folder, error) from error

    def _search(self, shard: Shard, entry: bytes, since_day: int) -> bool:
        txn = self._reader()
        return any(
            run.day >= since_day and sorted_runs.has(txn.get(run.key, db=self._db), entry)
            for run in shard.runs
        )

    def contains(self, fingerprints: Sequence[bytes], since_day: int) -> list[bool]:
        """For each fingerprint, whether it was seen on `since_day` or later."""
        return [self.has(fingerprint, since_day) for fingerprint in fingerprints]

    def days(self) -> frozenset[int]:
        """The days on which something was seen."""
        return frozenset(run.day for shard in self._shards for run in shard.runs)

    def __len__(self) -> int:
        return sum(shard.count for shard in self._shards)

    @property
    def ram_bytes(self) -> int:
        """Bytes held by the filters."""
        return sum(shard.filter.nbytes for shard in self._shards if shard.filter is not None)

    def write(self, txn: Txn, seen: Iterable[tuple[bytes, int]], expire_before_day: int | None) -> Changes:
        """Write new fingerprints and sweep some shards; nothing in RAM changes before `apply`."""
        changes = Changes()
        by_day: defaultdict[int, list[bytes]] = defaultdict(list)
        for fingerprint, day in seen:
            by_day[day].append(fingerprint)
        for day, fingerprints in by_day.items():
            for shard, run in sorted_runs.shards(fingerprints):
                self._add(txn, changes, shard, day, run)
        self._sweep(txn, changes, expire_before_day)
        return changes

    def _add(self, txn: Txn, changes: Changes, shard: int, day: int, run: bytes) -> None:
        mine = self._runs(changes, shard)
        mine.append(self._put(txn, shard, day, 0, run))
        changes.added[shard].append(run)
        self._promote(txn, shard, day, mine)
        self._refit(txn, changes, shard, overload=2)

    def apply(self, changes: Changes) -> None:
        """Take over what a committed transaction wrote."""
        for number, fresh in changes.runs.items():
            shard = self._shards[number]
            fresh.sort(key=_newest_first)
            shard.runs = fresh
            if (fitted := changes.filters.get(number)) is not None:
                shard.filter = fitted
            elif shard.filter is not None:
                for run in changes.added[number]:
                    shard.filter.add(run)

    def _runs(self, changes: Changes, shard: int) -> list[Run]:
        if (mine := changes.runs.get(shard)) is None:
            mine = changes.runs[shard] = list(self._shards[shard].runs)
        return mine

    def _put(self, txn: Txn, shard: int, day: int, level: int, run: bytes) -> Run:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        key = _KEY.pack(shard, day, level, self._sequence)
        txn.put(key, run, db=self._db)
        return Run(key, day, level, len(run) // WIDTH)

    def _promote(self, txn: Txn, shard: int, day: int, mine: list[Run]) -> None:
        level = 0
        while len(same := [run for run in mine if run.day == day and run.level == level]) >= FANOUT:
            level += 1
            self._join(txn, shard, same, level, mine)

    def _join(self, txn: Txn, shard: int, same: list[Run], level: int, mine: list[Run]) -> None:
        merged = sorted_runs.merge([bytes(txn.get(run.key, db=self._db)) for run in same])
        for run in same:
            txn.delete(run.key, db=self._db)
            mine.remove(run)
        mine.append(self._put(txn, shard, same[0].day, level, merged))

    def _sweep(self, txn: Txn, changes: Changes, expire_before_day: int | None) -> None:
        for _ in range(SWEEP_SHARDS):
            number = self._hand
            self._hand = (number + 1) % SHARDS
            mine = self._runs(changes, number)
            before = len(mine)
            if expire_before_day is not None:
                self._expire(txn, mine, expire_before_day)
            expired = len(mine) < before
            self._close_days(txn, number, mine)
            self._refit(txn, changes, number, overload=0 if expired else 1)

    def _refit(self, txn: Txn, changes: Changes, number: int, *, overload: int) -> None:
        """A new filter for a shard that holds more than `overload` times what its filter was made for.

        The sweep does it in time for all but young, fast-growing memories, whose filters are small.
        """
        current = self._shards[number].filter
        mine = changes.runs[number]
        if current is not None and sum(run.count for run in mine) > current.capacity * overload:
            changes.filters[number] = self._fit(txn, mine)

    def _expire(self, txn: Txn, mine: list[Run], before_day: int) -> None:
        for run in [run for run in mine if run.day < before_day]:
            txn.delete(run.key, db=self._db)
            mine.remove(run)

    def _close_days(self, txn: Txn, shard: int, mine: list[Run]) -> None:
        newest = max((run.day for run in mine), default=0)
        for day in {run.day for run in mine if run.day < newest}:
            same = [run for run in mine if run.day == day]
            if len(same) > 1:
                self._join(txn, shard, same, max(run.level for run in same) + 1, mine)

    def _fit(self, txn: Txn, mine: list[Run]) -> sorted_runs.Filter:
        """A filter with room for as many fingerprints again."""
        room = 2 * sum(run.count for run in mine)
        fitted = sorted_runs.Filter(max(_FIRST_CAPACITY, room))
        for run in mine:
            fitted.add(txn.get(run.key, db=self._db))
        return fitted


def unreadable(folder: Path, error: lmdb.Error) -> StateError:
    """What to raise where the folder cannot be read."""
    return StateError(
        f"state folder {folder}: cannot be read ({error}); where the disk is sound, delete the folder, "
        f"it is rebuilt from the log: rm -r '{folder}'"
    )


def _newest_first(run: Run) -> int:
    return -run.day
