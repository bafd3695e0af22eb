"""The files that the processes count in: on a full disk, a mapped file with holes would kill its process (SIGBUS)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.paths import DataDir
from headwater.run import configuration
from headwater.run.files import Holder, acquire, stage_lock

COUNT = """
import sys
from headwater.paths import DataDir
from headwater.run import configuration
configuration.metrics_folder(DataDir(__import__("pathlib").Path(sys.argv[1])).make())
from headwater import metrics
for number in range(400):
    metrics.ACCEPTED_EVENTS.labels(f"source{number}", "track").inc()
metrics.INFLIGHT_BYTES.set(5)
metrics.REQUEST_SECONDS.labels("batch").observe(0.1)
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "before")


def test_every_file_that_is_counted_in_has_its_room_beforehand(tmp_path: Path) -> None:
    """No file appears beside the prepared ones, none has holes, none has grown, and the numbers are in them."""
    subprocess.run([sys.executable, "-c", COUNT, str(tmp_path)], check=True, timeout=30)
    found = list(DataDir(tmp_path).metrics.iterdir())
    assert {path.name.rsplit("_", 1)[0] for path in found} == {"counter", "gauge_mostrecent", "histogram"}
    for path in found:
        stat = path.stat()
        assert stat.st_size == 256 * 1024
        assert stat.st_blocks * 512 >= stat.st_size, f"{path.name} has holes"
    assert any(b"source399" in path.read_bytes() for path in found)


def test_without_room_the_process_counts_for_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be written to costs this process's numbers, not the process."""
    data = DataDir(tmp_path).make()
    data.metrics.rmdir()
    data.metrics.write_text("not a folder")
    configuration.metrics_folder(data)
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    assert "leaves out this process" in caplog.text


def test_a_stage_that_runs_alone_forgets_what_its_last_process_counted(tmp_path: Path) -> None:
    """Three files a start would fill the folder within a year of restarts; those of other stages are left alone."""
    data = DataDir(tmp_path / "data").make()
    last, other = 4_000_001, 4_000_002  # beyond any real pid
    acquire(stage_lock(data, "processor"), "the processor", Holder(last)).release()
    for pid in (last, other):
        (data.metrics / f"counter_{pid}.db").write_bytes(b"counted")
    command = [
        sys.executable,
        "-m",
        "headwater",
        "processor",
        "--dir",
        str(data.root),
        "--workspace",
        "missing",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert not (data.metrics / f"counter_{last}.db").exists()
    assert (data.metrics / f"counter_{other}.db").exists()
