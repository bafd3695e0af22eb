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
    run = runs.merge([b"".join(sorted(known))])
    for probe in [*known, *probes]:
        assert runs.has(run, probe) == (probe in set(known))


@given(st.lists(st.lists(entry, max_size=20), max_size=5))
def test_merging_gives_the_sorted_union(parts: list[list[bytes]]) -> None:
    """Each entry once, in order."""
    merged = runs.merge([b"".join(sorted(part)) for part in parts])
    assert runs.entries(merged) == sorted({one for part in parts for one in part})


@given(st.lists(st.binary(min_size=10, max_size=10), max_size=600))
def test_fingerprints_are_dealt_out_by_their_first_byte(some: list[bytes]) -> None:
    """A sorted run for each first byte, which is not in it; a fingerprint that comes twice is there once."""
    some += some[:3]
    wanted: dict[int, set[bytes]] = {}
    for one in some:
        wanted.setdefault(one[0], set()).add(one[1:])
    assert dict(runs.shards(some)) == {shard: b"".join(sorted(found)) for shard, found in wanted.items()}


def test_a_run_of_any_length_is_taken_apart() -> None:
    """Also one that is longer than what is unpacked at a time, with and without a rest."""
    known = [os.urandom(9) for _ in range(1_000)]
    for length in (0, 1, 255, 256, 257, 512, 1_000):
        assert runs.entries(b"".join(known[:length])) == known[:length]


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
    one.add(b"".join(known))
    assert all(key in one for key in known)
    assert sum(os.urandom(9) in one for _ in range(10_000)) < 200
    assert one.nbytes <= 20_000 + 8


def test_a_filter_knows_a_fingerprint_by_its_end() -> None:
    """An entry is what follows a fingerprint's first byte; either may be asked for."""
    one, fingerprint = runs.Filter(100), os.urandom(10)
    assert fingerprint not in one
    one.add(fingerprint[1:])
    assert fingerprint in one
    assert fingerprint[1:] in one
