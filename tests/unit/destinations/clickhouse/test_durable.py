"""Power cuts: what the loader calls delivered has been synced, by the engine's own count of syncs."""

from __future__ import annotations

import pytest

from destinations.clickhouse.engine import ClickHouse
from destinations.clickhouse.loader import Loader
from destinations.clickhouse.portions import Prepared
from destinations.kit.books import Page
from headwater.log.memory import MemoryLog
from tests.unit.destinations.clickhouse.loading import PROCESSED, base_rows, entry, event, loaded, loading

pytestmark = pytest.mark.engine


def syncs(engine: ClickHouse) -> dict[str, int]:
    """How many files and folders the engine has synced so far."""
    rows = engine.query("SELECT event, value FROM system.events WHERE event IN ('FileSync', 'DirectorySync')")
    return {"FileSync": 0, "DirectorySync": 0} | {name: int(value) for name, value in rows}


def since(engine: ClickHouse, before: dict[str, int]) -> dict[str, int]:
    """The syncs since then."""
    return {name: value - before[name] for name, value in syncs(engine).items()}


async def test_rows_are_synced_before_their_position_moves(
    engine: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a flush is about to be called delivered, its part's files and folder are on the disk."""
    found: list[dict[str, int]] = []
    before = syncs(engine)
    finish = Loader.finish

    async def observed(self: Loader, page: Page, prepared: Prepared) -> None:
        if prepared.portion.tp == PROCESSED:  # the record of the warm-up's delivery may come just then
            found.append({**since(engine, before), "rows": base_rows(engine).count("m1")})
        await finish(self, page, prepared)

    monkeypatch.setattr(Loader, "finish", observed)
    log = MemoryLog()
    async with loading(engine, log, views=False):
        await log.append([entry(event("warm-up"))])
        await loaded(log)
        before = syncs(engine)
        found.clear()
        await log.append([entry(event("m1"))])
        await loaded(log)
    assert found[0]["rows"] == 1
    assert found[0]["FileSync"] > 10, "each column of a part is a file or two, unless the part is compact"
    assert found[0]["DirectorySync"] > 0


def test_a_table_without_the_settings_is_not_synced(engine: ClickHouse) -> None:
    """The control: what the counts above show is the settings' doing."""
    engine.command("CREATE OR REPLACE TABLE lazy (a Int32) ENGINE = MergeTree ORDER BY a")
    before = syncs(engine)
    engine.insert_block("lazy", ["a"], b'{"a":1}\n', "JSONEachRow", {})
    assert since(engine, before) == {"FileSync": 0, "DirectorySync": 0}


def test_every_table_of_ours_syncs_inserts_and_merges(engine: ClickHouse) -> None:
    """A merged part replaces parts that are deleted, so it has to be on the disk as well."""
    tables = engine.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = 'headwater' AND engine LIKE '%MergeTree' "
        "AND name != 'schema_migrations'"
    )
    assert len(tables) >= 8
    for name, create in tables:
        for setting in (
            "fsync_after_insert = 1", "fsync_part_directory = 1", "min_rows_to_fsync_after_merge = 1",
            "min_compressed_bytes_to_fsync_after_merge = 1",
        ):  # fmt: skip
            assert setting in create, name
    engine.command("INSERT INTO headwater.events (message_id) VALUES ('merged-1')")
    engine.command("INSERT INTO headwater.events (message_id) VALUES ('merged-2')")
    before = syncs(engine)
    engine.command("OPTIMIZE TABLE headwater.events FINAL")
    assert since(engine, before)["FileSync"] > 0
