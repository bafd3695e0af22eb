"""What doctor finds in a folder from which something was deleted, or that cannot be written."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headwater.clock import ManualClock
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.topics import PROCESSED
from headwater.paths import DataDir
from headwater.run import diagnose
from headwater.workspace.model import Limits, Workspace

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


@pytest.mark.parametrize(
    ("flags", "what", "do"),
    [
        (os.ST_RDONLY, "is on a file system that is mounted for reading only", "findmnt -T "),
        (0, "cannot be read and written by this user", "sudo chown -R $(id -u):$(id -g) "),
    ],
)
def test_who_is_in_the_way_of_writing_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int, what: str, do: str
) -> None:
    """On a disk that went read-only no `chown` helps."""
    data = DataDir(tmp_path / "my data").make()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=flags))
    monkeypatch.setattr(diagnose, "free_bytes", lambda _: 1 << 40)
    found = [one for one in diagnose.of_folder(data, Limits()) if one.about == "permissions"]
    assert len(found) == (1 if flags else 4)
    assert what in found[0].what
    assert found[0].do.startswith(f"{do}'{data.root}'")


def test_a_disk_that_is_nearly_full_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """57 MB are 57 MB, not 0.1 GiB; what is to be typed can be pasted, its reason is a comment."""
    monkeypatch.setattr(diagnose, "free_bytes", lambda _: 57 << 20)
    (found,) = diagnose.of_folder(DataDir(tmp_path / "my data"), Limits())
    assert "57 MB free at" in found.what
    assert "less than limits.disk_free_bytes (256 MB)" in found.what
    assert found.do.startswith(f"du -sh '{tmp_path}/my data'/*  # ")
