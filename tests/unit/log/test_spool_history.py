"""Any history of appends, full disks, drains, kills and power cuts: what was acknowledged comes out, in order, untouched."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from headwater.errors import LogUnavailable
from headwater.log.spool_store import Group, Store
from headwater.metrics import SPOOL_LOST
from tests.support.spooling import RecordingFolder, entry, opened

PARTITIONS = 2
SIZES = st.lists(st.sampled_from((5, 400, 1500)), min_size=1, max_size=4)


class SpoolHistory(RuleBasedStateMachine):
    """The spool beside a list of what was acknowledged, and the log it is drained to."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="headwater-spool-"))
        self.lives = self.number = 0
        self.acknowledged: list[bytes] = []
        self.refused: set[bytes] = set()
        self.log: list[bytes] = []
        self.partition: dict[bytes, int] = {}
        self.lost = SPOOL_LOST._value.get()

    @initialize()
    def start(self) -> None:
        """An empty spool."""
        self.folder = RecordingFolder(self.root / "0")
        self.store: Store = opened(self.folder, capacity=40_000)

    @rule(sizes=SIZES, full=st.sampled_from((False, False, False, True)))
    def append(self, sizes: list[int], full: bool) -> None:
        """Keep a batch, on a disk that may be full in the middle of it."""
        values = []
        for size in sizes:
            self.number += 1
            values.append(b"%d " % self.number + Random(self.number).randbytes(size))
            self.partition[values[-1]] = self.number % PARTITIONS
        self.folder.full = full
        try:
            self.store.append([entry(value, self.partition[value]) for value in values])
        except LogUnavailable:
            self.refused.update(values)
        else:
            assert not full
            self.acknowledged += values
        finally:
            self.folder.full = False

    @rule(max_bytes=st.sampled_from((1, 2_000, 100_000)), settled=st.booleans())
    def drain(self, max_bytes: int, settled: bool) -> None:
        """Give a group to the log; where it is not settled, the answer was lost, or the process dies next."""
        group = self.store.group(max_bytes)
        if group is not None:
            self._append_to_log(group)
            if settled:
                self.store.advance(group.until)

    @rule()
    def kill(self) -> None:
        """SIGKILL: the kernel keeps every write."""
        self.store.abandon()
        self.store = opened(self.folder, capacity=40_000)

    @rule()
    def stop(self) -> None:
        """A clean end and another start."""
        self.store.close()
        self.store = opened(self.folder, capacity=40_000)

    @rule(seed=st.integers(0, 1 << 30))
    def power_cut(self, seed: int) -> None:
        """The machine dies now: what was not synced is lost in part."""
        self._cut(len(self.folder.steps), seed)

    @rule(sizes=SIZES, seed=st.integers(0, 1 << 30), back=st.integers(1, 6))
    def power_cut_during_an_append(self, sizes: list[int], seed: int, back: int) -> None:
        """The machine dies some steps before an append ends: it was not acknowledged."""
        before, acknowledged = len(self.folder.steps), list(self.acknowledged)
        self.append(sizes, full=False)
        self.refused.update(self.acknowledged[len(acknowledged) :])
        self.acknowledged = acknowledged
        self._cut(max(before, len(self.folder.steps) - back), seed)

    @invariant()
    def nothing_foreign_and_nothing_counted_as_lost(self) -> None:
        """What reached the log was given by somebody, and no kill or cut is taken for damage."""
        assert set(self.log) <= set(self.acknowledged) | self.refused
        assert SPOOL_LOST._value.get() == self.lost

    def teardown(self) -> None:
        """Drain everything: all that was acknowledged is there, in order within its partition."""
        while (group := self.store.group()) is not None:
            self._append_to_log(group)
            self.store.advance(group.until)
        self.store.close()
        shutil.rmtree(self.root)
        first_copies = list(dict.fromkeys(self.log))
        assert set(self.acknowledged) <= set(first_copies)
        for partition in range(PARTITIONS):
            mine = [int(v.split()[0]) for v in first_copies if self.partition[v] == partition]
            assert mine == sorted(mine)
        assert self.store.bytes == 0

    def _cut(self, step: int, seed: int) -> None:
        self.store.abandon()
        self.lives += 1
        after = self.root / str(self.lives)
        self.folder.after_cut(step, Random(seed), after)
        self.folder = RecordingFolder.of(after)
        self.store = opened(self.folder, capacity=40_000)

    def _append_to_log(self, group: Group) -> None:
        for one in group.entries:
            value = one.record.value or b""
            assert one.partition == self.partition[value]
            self.log.append(value)


def test_any_history_keeps_what_was_acknowledged_in_order() -> None:
    """Hypothesis looks for a history that loses, forges or reorders."""
    run_state_machine_as_test(
        SpoolHistory, settings=settings(max_examples=25, stateful_step_count=30, deadline=None, database=None)
    )
