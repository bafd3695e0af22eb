"""One destination as a process of its own: `python destination_process.py BOOTSTRAP PREFIX FOLDER DESTINATIONS`.

`DESTINATIONS` is the JSON of the workspace's destinations; the process runs them until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from destinations.kit import runtime
from headwater.clock import SystemClock
from headwater.paths import DataDir
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace
from tests.kafka.processor_process import open_log


def workspace(destinations: dict[str, Any]) -> Workspace:
    """A source and the destinations."""
    sources = {"web": {"kind": "browser", "write_keys": ["w"]}}
    return Workspace.model_validate({"workspace": "test", "sources": sources, "destinations": destinations})


async def main(bootstrap: str, prefix: str, folder: str, destinations: str) -> None:
    """Deliver for ever."""
    data, live = DataDir(Path(folder)).make(), LiveWorkspace(workspace(json.loads(destinations)))
    async with open_log(bootstrap, prefix) as log:
        await runtime.run(live, log, data, SystemClock(), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
