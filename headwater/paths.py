"""The data folder of one machine: where each process keeps what it owns."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DIR = Path("headwater-data")
DEMO_DIR = Path(".demo")
WORKSPACE_FILE = "headwater.yaml"


@dataclass(frozen=True, slots=True)
class DataDir:
    """Paths below one data folder; making the object touches no disk."""

    root: Path

    @property
    def option(self) -> str:
        """`--dir FOLDER` as a shell takes it, for the commands that messages say to type."""
        return f"--dir {shlex.quote(str(self.root))}"

    @property
    def log(self) -> Path:
        """SQLite files of the log, one per writing process."""
        return self.root / "log"

    @property
    def spool(self) -> Path:
        """Events that the collector acknowledged while the log took none; made when it is first needed."""
        return self.root / "spool"

    @property
    def move(self) -> Path:
        """The note that the log is being carried to Kafka, or was."""
        return self.root / "migration.json"

    @property
    def state(self) -> Path:
        """LMDB folders of the processors, one per partition; may be deleted, is rebuilt from the log."""
        return self.root / "state"

    @property
    def clickhouse(self) -> Path:
        """The embedded ClickHouse engine's tables; one process may open it."""
        return self.root / "clickhouse"

    @property
    def run(self) -> Path:
        """Locks, pids, ports and metrics of running processes; may be deleted while nothing runs."""
        return self.root / "run"

    @property
    def metrics(self) -> Path:
        """Memory-mapped counters of all processes (prometheus_client's multi-process mode)."""
        return self.run / "metrics"

    def make(self) -> DataDir:
        """Create the folders that every process expects; a new data folder is its owner's alone, for events are in it."""
        if not self.root.exists():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.log, self.state, self.run, self.metrics):
            folder.mkdir(parents=True, exist_ok=True)
        return self
