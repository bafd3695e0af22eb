"""What a stage needs to start, as one JSON argument: the supervisor tells its children so, the commands fill it in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import msgspec

from headwater.logs import Style
from headwater.paths import DataDir

Stage = Literal["collector", "processor", "destinations"]
STAGES: tuple[Stage, ...] = ("collector", "processor", "destinations")
LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_CLICKHOUSE_PORT = 8123


class StageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage. File descriptors are those of this process: -1 for none."""

    stage: Stage
    dir: str
    workspace: str
    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    health_host: str = LOOPBACK
    health_port: int | None = (
        None  # where a stage other than the collector answers /health, /ready and /metrics
    )
    clickhouse_port: int | None = None  # where the embedded ClickHouse answers; None: it does not
    only: str | None = None  # run this one destination
    listen_fd: int = -1  # a listening socket that outlives the collector
    lifeline_fd: int = -1  # reads EOF when the supervisor is gone
    ready_fd: int = -1  # gets one byte when the stage works
    log_style: Style = "auto"
    log_level: str = "info"

    @property
    def data(self) -> DataDir:
        """The data folder."""
        return DataDir(Path(self.dir))

    @property
    def supervised(self) -> bool:
        """Whether a supervisor started this stage."""
        return self.lifeline_fd >= 0


def name_of(stage: Stage) -> str:
    """A stage as a sentence with "the" before it and a verb behind it wants it: `destinations` alone is a plural."""
    return "destinations process" if stage == "destinations" else stage


def command(settings: StageSettings) -> list[str]:
    """The command line that runs a stage with the same interpreter; the stage comes first, for readers of `ps`."""
    encoded = msgspec.json.encode(settings).decode()
    return [sys.executable, "-m", "headwater.run.child", settings.stage, encoded]
