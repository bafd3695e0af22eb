"""Sorted runs and the filter before them."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from headwater.state import runs

entry = st.binary(min_size=9, max_size=9)


@given(known=st.lists(entry, max_size=60), probes=st.lists(entry, max_size=20))
def test_a_run_has_exactly_its_entries(known: list[bytes], probes: list[bytes]) -> None:
    """Search agrees with a set, for any entries, not only for evenly spread ones."""
    run = runs.merge([b"".join(sorted(known))], 9)
    for probe in [*known, *probes]:
        assert runs.has(run, probe) == (probe in set(known))


@given(st.lists(st.lists(entry, max_size=20), max_size=5))
def test_merging_gives_the_sorted_union(parts: list[list[bytes]]) -> None:
    """Each entry once, in order."""
    merged = runs.merge([b"".join(sorted(part)) for part in parts], 9)
    assert runs.entries(merged, 9) == sorted({one for part in parts for one in part})


def test_entries_are_found_in_a_large_run_at_any_place() -> None:
    """A run of evenly spread entries, searched from its first to its last, and between them."""
    known = sorted(os.urandom(9) for _ in range(20_000))
    run = memoryview(b"".join(known))
    assert all(runs.has(run, one) for one in known)
    assert not any(runs.has(run, os.urandom(9)) for _ in range(5_000))


def test_a_filter_never_denies_what_was_added_and_rarely_affirms_the_rest() -> None:
    """No false negatives; at capacity at most one unknown key in fifty is let through."""
    one = runs.Filter(10_000)
    known = [os.urandom(9) for _ in range(10_000)]
    one.add(known)
    assert all(key in one for key in known)
    assert sum(os.urandom(9) in one for _ in range(10_000)) < 200
    assert one.nbytes <= 20_000 + 8
