"""The option `merges`: whether the event table may drop copies of a row that were inserted twice."""

from __future__ import annotations

import pytest

from destinations.clickhouse.engine import ClickHouse
from headwater.log.memory import MemoryLog
from tests.unit.destinations.clickhouse.loading import base_rows, entry, event, loaded, loading, until

pytestmark = pytest.mark.engine
PARTS = "SELECT count(), max(level) FROM system.parts WHERE database = 'headwater' AND table = 'events' AND active"


async def test_without_merges_every_inserted_row_stays_and_with_them_copies_go(engine: ClickHouse) -> None:
    """Copies within one insert and across inserts are all counted until merges are allowed again."""
    log = MemoryLog()
    async with loading(engine, log, merges=False):
        for number in range(8):
            await log.append([entry(event("copy"), event("copy"), event(f"m{number}"))])
            await loaded(log)
        assert base_rows(engine).count("copy") == 16
        assert engine.query(PARTS) == [[8, 0]]
    async with loading(engine, log, merges=True):
        await log.append([entry(event("last"))])
        await loaded(log)
        engine.command("OPTIMIZE TABLE headwater.events FINAL")
        await until(lambda: base_rows(engine).count("copy") == 1)
    assert base_rows(engine) == sorted(["copy", "last", *(f"m{n}" for n in range(8))])


async def test_the_choice_outlives_the_process(engine: ClickHouse) -> None:
    """The table itself knows that it is not to be merged, so that opening the folder again merges nothing."""
    definition = "SELECT engine_full FROM system.tables WHERE database = 'headwater' AND name = 'events'"
    before = engine.query(definition)
    async with loading(engine, MemoryLog(), merges=False):
        await until(lambda: "max_bytes_to_merge_at_max_space_in_pool = 1" in engine.query(definition)[0][0])
    async with loading(engine, MemoryLog(), merges=True):
        await until(lambda: engine.query(definition) == before)
