"""Rows of the SQLite log: many keyed ones in a commit, and how many unpacked ones a reader keeps."""

from __future__ import annotations

import pytest

from headwater.clock import ManualClock
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.sqlite_reader import CACHE_BYTES, SHARED_BYTES
from headwater.log.sqlite_sheet import ROW_BYTES
from headwater.log.topics import ACCEPTED, PROFILES, Writer
from headwater.paths import DataDir
from tests.contracts.log.harness import read_all

IN, ROWS = TopicPartition(ACCEPTED, 0), TopicPartition(PROFILES, 0)


@pytest.mark.parametrize("keys", [1, 63, 64, 65, 200])
async def test_a_commit_replaces_any_number_of_keyed_values(
    data: DataDir, clock: ManualClock, keys: int
) -> None:
    """Of each key the last value stands, at the place of its last record, also where a commit holds it twice."""
    first = [Entry(*ROWS, Record(b"old", key=b"%d" % n)) for n in range(keys)]
    second = [
        Entry(*ROWS, Record(b"%s %d" % (word, n), key=b"%d" % n))
        for word in (b"mid", b"new")
        for n in range(keys)
    ]
    async with SqliteLog(data, clock, writers=WRITERS) as log:
        await log.append(first)
        await log.append(second)
        found = await read_all(log, ROWS)
    assert [(one.key, one.value, one.offset) for one in found] == [
        (b"%d" % n, b"new %d" % n, 2 * keys + n) for n in range(keys)
    ]


@pytest.mark.parametrize(
    ("writers", "bound"), [(("collector", "processor"), CACHE_BYTES), (WRITERS, SHARED_BYTES)]
)
async def test_a_reader_keeps_no_more_rows_than_its_process_needs(
    data: DataDir, clock: ManualClock, writers: tuple[Writer, ...], bound: int
) -> None:
    """Where each row is read once a few are kept; more where several destinations read the same."""
    value = bytes(ROW_BYTES)
    async with SqliteLog(data, clock, writers=writers) as log:
        for _ in range(SHARED_BYTES // ROW_BYTES + 4):
            await log.append([Entry(*IN, Record(value))])
        assert len(await read_all(log, IN)) == SHARED_BYTES // ROW_BYTES + 4
        kept = sum(len(one.value or b"") for row in log._readers["collector"]._rows.values() for one in row)
    assert bound - 2 * ROW_BYTES < kept <= bound
