"""Decisions about dead letters: carried out by the running destinations, or by this process where none run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from destinations.kit import control
from headwater.clock import SystemClock
from headwater.paths import DataDir
from headwater.run import configuration


async def resolve(
    data: DataDir, file: Path, action: str, name: str, ids: Sequence[int] | None
) -> dict[str, list[int]]:
    """Retry or discard letters (None: all of them): {"done": [ids], "unknown": [ids]}. Raises HeadwaterError.

    The workspace (and so its secrets) is needed only where nothing runs.
    """
    asked: dict[str, Any] = {"do": action, "destination": name, "ids": None if ids is None else list(ids)}
    try:
        result: dict[str, list[int]] = await control.call(data, asked)
    except control.ControlUnavailable:
        workspace = configuration.read(file).workspace
        return await control.settle_letters(data, workspace, SystemClock(), action, name, ids)
    return result
