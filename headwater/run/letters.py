"""Decisions about dead letters: carried out by the running destinations, or by this process where none run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from destinations.kit import control
from destinations.kit.dlq import Progress, quietly
from headwater.clock import SystemClock
from headwater.paths import DataDir
from headwater.run import configuration


async def resolve(
    data: DataDir,
    file: Path,
    action: str,
    name: str,
    ids: Sequence[int] | None,
    progress: Progress = quietly,
) -> dict[str, Any]:
    """Retry or discard letters (None: all of them): {"count": n, "done": [ids], "unknown": [ids]}. Raises HeadwaterError.

    The workspace (and so its secrets) is needed only where nothing runs.
    """
    asked: dict[str, Any] = {"do": action, "destination": name, "ids": None if ids is None else list(ids)}
    try:
        result: dict[str, Any] = await control.call(data, asked, progress=progress)
    except control.ControlUnavailable:
        workspace = configuration.read(file).workspace
        return await control.settle_letters(data, workspace, SystemClock(), action, name, ids, progress)
    return result
