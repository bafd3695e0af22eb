"""Backups and restores that are refused, damaged, interrupted, or made while nothing runs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from destinations.kit import control
from destinations.kit.pause import Frozen
from headwater.clock import ManualClock
from headwater.errors import AlreadyRunning
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.topics import ACCEPTED
from headwater.paths import DataDir
from headwater.run import backup, files, manifest
from headwater.run.backup import CannotBackUp, Order, back_up
from headwater.run.copying import Rate, copy
from headwater.run.manifest import Manifest, Unusable
from headwater.run.rebuilds import rebuilds
from headwater.run.restore import restore
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.outline import outline
from tests.support.rig import workspace

CLOCK = ManualClock(1_750_000_000_000)
IN = TopicPartition(ACCEPTED, 0)
WORKSPACE = "workspace: acme\nsources:\n  api: {kind: server, write_keys: [wk_api]}\n"


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A stopped installation with a log of a few records, a file of ClickHouse's, and a workspace."""
    data = DataDir(tmp_path / "data").make()

    async def fill() -> None:
        async with SqliteLog(data, CLOCK, writers=WRITERS) as log:
            await log.append([Entry(*IN, Record(b"%d" % n)) for n in range(50)])

    asyncio.run(fill())
    for name, content in (("store/abc/1/data.bin", b"rows"), ("shadow/old/x", b"no"), ("status", b"pid")):
        path = data.clickhouse / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (data.root / "headwater.yaml").write_text(WORKSPACE)
    return data


def make(data: DataDir, folder: Path) -> Manifest:
    """Make a backup."""
    file = data.root / "headwater.yaml"
    order = Order(data, outline(file), file, folder, 0)
    return asyncio.run(back_up(order, CLOCK, lambda _: None, lambda _: None))


def put_back(folder: Path, root: Path, *, force: bool = False) -> Path | None:
    """Restore; where the former content went."""
    done = restore(folder, DataDir(root), CLOCK, lambda _: None, lambda _: None, force=force)
    return done.aside


def test_a_stopped_installation_is_backed_up_and_restored(data: DataDir, tmp_path: Path) -> None:
    """Log, tables and workspace come back as they were; what the engine makes anew is left out, the manifest says what it is."""
    made = make(data, tmp_path / "backup")
    assert made.parts == ["log", "clickhouse", "workspace"]
    assert set(made.left_out) == {"state", "secrets"}
    assert {file.path for file in made.files} == {
        "log/destinations.db", "log/processor.db", "log/collector.db", "clickhouse/store/abc/1/data.bin", "headwater.yaml"
    }  # fmt: skip
    assert made.positions[2]["partitions"] == [
        {"topic": ACCEPTED, "partition": 0, "begin": 0, "end": 50, "events": 50}
    ]
    put_back(tmp_path / "backup", tmp_path / "restored")
    restored = DataDir(tmp_path / "restored")
    assert (restored.clickhouse / "store/abc/1/data.bin").read_bytes() == b"rows"
    assert (restored.root / "headwater.yaml").read_text() == WORKSPACE
    assert restored.root.stat().st_mode & 0o077 == 0

    async def read() -> int:
        async with SqliteLog(restored, CLOCK) as log:
            return len((await log.read(IN, 0)).records)

    assert asyncio.run(read()) == 50


def test_a_target_that_holds_something_is_refused(data: DataDir, tmp_path: Path) -> None:
    """Neither a backup nor a restore writes among other files."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    with pytest.raises(CannotBackUp, match="is not empty; back up to"):
        make(data, tmp_path / "full")
    make(data, tmp_path / "backup")
    with pytest.raises(CannotBackUp, match="is not empty; restore to"):
        put_back(tmp_path / "backup", tmp_path / "full")
    aside = put_back(tmp_path / "backup", tmp_path / "full", force=True)
    assert aside is not None
    assert (aside / "precious").exists()
    assert (tmp_path / "full" / "log" / "collector.db").exists()


def test_an_interrupted_backup_is_recognised_and_its_rest_is_used_no_more(
    data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never has the name asked for; a failure removes it, a kill leaves a folder that the next one clears."""
    monkeypatch.setattr(backup, "copy", _full_disk)
    with pytest.raises(CannotBackUp, match="No space left"):
        make(data, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    assert not (tmp_path / "backup.partial").exists()
    monkeypatch.undo()
    rest = tmp_path / "backup.partial"
    (rest / "log").mkdir(parents=True)
    (rest / "log" / "collector.db").write_bytes(b"half")
    with pytest.raises(Unusable, match="was interrupted while it was made"):
        put_back(rest, tmp_path / "restored")
    make(data, tmp_path / "backup")
    put_back(tmp_path / "backup", tmp_path / "restored")


def _full_disk(_source: Path, target: Path, _rate: Rate) -> str:
    raise OSError(28, "No space left on device", str(target))


def test_two_backups_to_one_folder_do_not_mix(data: DataDir, tmp_path: Path) -> None:
    """The second is told of the first."""
    draft = tmp_path / "backup.partial"
    draft.mkdir()
    lock = files.acquire(draft / ".lock", "a backup", files.Holder(os.getpid()))
    try:
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
            make(data, tmp_path / "backup")
    finally:
        lock.release()


def test_a_disk_without_space_is_seen_before_anything_is_copied(
    data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says how much is needed and how much there is."""
    make(data, tmp_path / "backup")
    monkeypatch.setattr(backup, "free_bytes", lambda _: 1_000)
    with pytest.raises(CannotBackUp, match="1000 are free"):
        make(data, tmp_path / "another")
    assert list(tmp_path.glob("another*")) == []
    monkeypatch.setattr("headwater.run.restore.free_bytes", lambda _: 1_000)
    with pytest.raises(CannotBackUp, match="1000 are free"):
        put_back(tmp_path / "backup", tmp_path / "restored")


@pytest.mark.parametrize("damage", ["changed", "shorter", "missing"])
def test_a_damaged_backup_touches_nothing(data: DataDir, tmp_path: Path, damage: str) -> None:
    """One flipped bit, one byte less or one file less: named, and the folder to be replaced stays as it is."""
    make(data, tmp_path / "backup")
    file = tmp_path / "backup" / "log" / "collector.db"
    content = file.read_bytes()
    file.unlink()
    if damage == "changed":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "shorter":
        file.write_bytes(content[:-1])
    before = sorted(data.root.rglob("*"))
    with pytest.raises(Unusable, match=r"collector\.db: .*nothing was restored"):
        put_back(tmp_path / "backup", data.root, force=True)
    assert sorted(data.root.rglob("*")) == before


def test_a_manifest_that_leads_elsewhere_or_is_newer_is_refused(data: DataDir, tmp_path: Path) -> None:
    """A path out of the folder, a later format, and what is no manifest at all."""
    make(data, tmp_path / "backup")
    path = tmp_path / "backup" / manifest.NAME
    good = json.loads(path.read_text())
    for change, words in (
        ({"files": [{"path": "../x", "size": 0, "sha256": ""}]}, "outside the backup"),
        ({"format": 2}, "this version reads 1"),
        ({"files": 3}, "cannot be read"),
    ):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(Unusable, match=words):
            put_back(tmp_path / "backup", tmp_path / "restored")


def test_a_folder_in_use_is_not_replaced(data: DataDir, tmp_path: Path) -> None:
    """Not even with --force: the pid says whom to stop."""
    make(data, tmp_path / "backup")
    lock = files.acquire(files.stage_lock(data, "processor"), "it", files.Holder(os.getpid()))
    try:
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            put_back(tmp_path / "backup", data.root, force=True)
    finally:
        lock.release()


async def test_loaders_stand_still_until_the_backup_goes_on(tmp_path: Path) -> None:
    """The answer comes while they stand; the next line lets them go, the end of the connection removes the picture."""
    data = DataDir(tmp_path).make()
    tables = _Tables(tmp_path / "picture")
    live, log = LiveWorkspace(workspace()), MemoryLog()
    async with control.serve_control(data, log, live, CLOCK, list, tables):
        async with control.frozen(data) as (picture, go_on):
            assert picture == tmp_path / "picture"
            assert not tables.moving.is_set()
            go_on()
            await tables.moving.wait()
            assert not tables.forgotten.is_set()
        await tables.forgotten.wait()
    with pytest.raises(control.ControlUnavailable):
        await control.frozen(data).__aenter__()


class _Tables:
    """Says when its loaders move and when its picture is gone."""

    def __init__(self, picture: Path) -> None:
        self._picture = picture
        self.moving, self.forgotten = asyncio.Event(), asyncio.Event()

    def frozen(self) -> _Tables:
        """Itself, as a context."""
        return self

    async def __aenter__(self) -> Frozen:
        return Frozen(self._picture, self._go_on)

    async def __aexit__(self, *exc: object) -> None:
        self.forgotten.set()

    async def _go_on(self) -> None:
        self.moving.set()


def test_of_a_cluster_the_spool_and_the_workspace_are_kept_and_the_rest_is_named(tmp_path: Path) -> None:
    """What Kafka and the ClickHouse server hold is theirs to keep, and the answer says so."""
    data = DataDir(tmp_path / "data").make()
    (data.root / "headwater.yaml").write_text(
        WORKSPACE + "destinations:\n  ch: {type: clickhouse, url: 'http://ch:8123'}\n"
        "log: {type: kafka, brokers: ['k1:9092']}\n"
    )
    (data.root / "spool").mkdir()
    (data.root / "spool" / "1.log").write_bytes(b"waiting")
    made = make(data, tmp_path / "backup")
    assert (made.log, made.parts) == ("kafka", ["spool", "workspace"])
    assert set(made.left_out) == {"log", "clickhouse", "state", "secrets"}
    put_back(tmp_path / "backup", tmp_path / "restored")
    assert (tmp_path / "restored" / "spool" / "1.log").read_bytes() == b"waiting"


def test_copying_keeps_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses add up to size over rate, whatever the chunks."""
    slept: list[float] = []
    now = [100.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    (tmp_path / "a").write_bytes(b"x" * 5_000_000)
    told: list[int] = []
    copy(tmp_path / "a", tmp_path / "b", Rate(1_000_000, told.append))
    assert sum(told) == 5_000_000
    assert sum(slept) == pytest.approx(5.0)


REBUILDING = """
import sys
from pathlib import Path
from headwater.paths import DataDir
from headwater.run import configuration
configuration.metrics_folder(DataDir(Path(sys.argv[1])).make())
from headwater import metrics
metrics.REBUILD_RATIO.labels("3").set(0.43)
metrics.REBUILD_RATIO.labels("4").set(1)
"""


def test_status_knows_which_partitions_are_rebuilt(tmp_path: Path) -> None:
    """From the processor's own numbers, while it runs."""
    data = DataDir(tmp_path).make()
    subprocess.run([sys.executable, "-c", REBUILDING, str(tmp_path)], check=True, timeout=30)
    assert rebuilds(data) == {}
    lock = files.acquire(files.stage_lock(data, "processor"), "it", files.Holder(os.getpid()))
    try:
        assert rebuilds(data) == {"3": 0.43}
    finally:
        lock.release()
