"""The record-batch codec and keyed rows: what goes in comes out, and a single changed bit is noticed."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headwater.errors import Corrupt
from headwater.log import pack as packing
from headwater.log.keyed import keyed_record, keyed_row
from headwater.log.pack import pack, unpack
from headwater.log.protocol import Record

PLACE = 3 << 44 | 7
RECORDS = st.lists(
    st.builds(
        Record,
        value=st.none() | st.binary(max_size=200),
        key=st.none() | st.binary(max_size=20),
        timestamp=st.integers(-(2**63), 2**63 - 1),
        events=st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=20,
)


def packed(records: list[Record]) -> bytes:
    """The blob of these records, with their own timestamps."""
    return pack(records, [record.timestamp for record in records], PLACE)


@given(RECORDS)
def test_unpacking_gives_what_was_packed(records: list[Record]) -> None:
    """Keys, values, None against empty, timestamps, event counts; offsets count from the base."""
    expected = [replace(record, offset=7 + n) for n, record in enumerate(records)]
    assert unpack(packed(records), PLACE, 7, len(records)) == expected


@given(RECORDS, st.data())
def test_any_flipped_bit_is_corrupt(records: list[Record], data: st.DataObject) -> None:
    """Head, checksum or body: no change goes unnoticed."""
    blob = bytearray(packed(records))
    bit = data.draw(st.integers(0, 8 * len(blob) - 1))
    blob[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Corrupt, match="offset 7"):
        unpack(bytes(blob), PLACE, 7, len(records))


@given(RECORDS, st.data())
def test_a_truncated_batch_is_corrupt(records: list[Record], data: st.DataObject) -> None:
    """Every prefix is refused."""
    blob = packed(records)
    cut = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(Corrupt, match="offset 7"):
        unpack(blob[:cut], PLACE, 7, len(records))


def test_a_batch_in_another_place_is_corrupt() -> None:
    """A row copied over another one has a good body in the wrong place."""
    blob = packed([Record(b"x")])
    with pytest.raises(Corrupt, match="checksum"):
        unpack(blob, PLACE + 1, 8, 1)
    with pytest.raises(Corrupt, match="checksum"):
        unpack(blob, PLACE, 7, 2)


@given(
    st.binary(max_size=50),
    st.none() | st.binary(max_size=50),
    st.integers(0, 2**62),
    st.integers(0, 2**32 - 1),
)
def test_a_keyed_row_comes_back_and_notices_changes(
    key: bytes, value: bytes | None, ms: int, events: int
) -> None:
    """Each field of a compacted topic's row is covered by its checksum."""
    record = Record(value, key, ms, events, offset=5)
    row = keyed_row(3, record)
    assert keyed_record(row) == record
    place, part, _, _, _, _, checksum = row
    others = [
        (place + 1, part, key, value, events, ms, checksum),
        (place, part + 1, key, value, events, ms, checksum),
        (place, part, key + b"x", value, events, ms, checksum),
        (
            place,
            part,
            key,
            b"" if value is None else None if value == b"" else value[:-1],
            events,
            ms,
            checksum,
        ),
        (place, part, key, value, events + 1, ms, checksum) if events < 2**32 - 1 else None,
        (place, part, key, value, events, ms + 1, checksum),
    ]
    for other in filter(None, others):
        with pytest.raises(Corrupt, match="checksum"):
            keyed_record(other)


def test_rows_packed_with_a_larger_window_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written with zstd's own window of level 1, 512 KB, whose matches reach further back than today's."""
    once = random.Random(1).randbytes(400_000)
    records = [Record(once, offset=7), Record(once, offset=8)]
    today = packed(records)
    compress = zstandard.ZstdCompressor(level=1).compress
    with monkeypatch.context() as patched:
        patched.setattr(packing, "_ZSTANDARD", SimpleNamespace(compress=compress))
        before = packed(records)
    assert len(before) < 500_000 < len(today), "only the larger window finds the repetition"
    assert unpack(before, PLACE, 7, 2) == unpack(today, PLACE, 7, 2) == records
