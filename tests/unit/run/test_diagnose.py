"""What doctor finds in a folder from which something was deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headwater.clock import ManualClock
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.topics import PROCESSED
from headwater.paths import DataDir
from headwater.run import diagnose
from headwater.workspace.model import Workspace

TP = TopicPartition(PROCESSED, 0)


def workspace(**destination: Any) -> Workspace:
    """One ClickHouse destination."""
    sources = {"web": {"kind": "browser", "write_keys": ["w"]}}
    destinations = {"warehouse": {"type": "clickhouse", **destination}}
    return Workspace.model_validate({"workspace": "a", "sources": sources, "destinations": destinations})


@pytest.fixture
async def log() -> MemoryLog:
    """A log of which the destination has loaded one event."""
    made = MemoryLog(1, ManualClock())
    await made.append([Entry(*TP, Record(b"{}"))])
    await made.store("destination.warehouse", {TP: Position(1)})
    return made


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
async def test_a_deleted_clickhouse_folder_is_named_with_what_to_type(
    tmp_path: Path, log: MemoryLog, left: str
) -> None:
    """Positions of its destination remain: what was loaded is gone, and the next start loads what the log still has."""
    data = DataDir(tmp_path)
    if left == "an empty folder":
        data.clickhouse.mkdir()
    (found,) = await diagnose.of_tables(log, workspace(), data)
    assert (found.level, found.about) == ("problem", "tables")
    assert f"{data.clickhouse}, the embedded ClickHouse, is gone though warehouse loaded events" in found.what
    assert found.do.startswith(f"headwater up --dir {tmp_path}")


async def test_tables_that_are_there_elsewhere_or_were_never_made_are_no_problem(
    tmp_path: Path, log: MemoryLog
) -> None:
    """A server has its tables elsewhere, a new installation has loaded nothing, and a folder with files is there."""
    data = DataDir(tmp_path)
    assert await diagnose.of_tables(log, workspace(url="http://ch:8123"), data) == []
    assert await diagnose.of_tables(MemoryLog(), workspace(), data) == []
    (data.clickhouse / "store").mkdir(parents=True)
    assert await diagnose.of_tables(log, workspace(), data) == []
