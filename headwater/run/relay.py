"""What the supervisor does while the log is carried from this machine to Kafka: which stages run, and on which workspace.

The command only writes a note in the folder (`headwater.log.moving`); the supervisor follows it. Where it cannot, for its
environment lacks a secret of the new workspace, everything stays as it is and the command takes the move back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from headwater.errors import ConfigError, LogError
from headwater.log import moving
from headwater.log.moving import Move
from headwater.paths import DataDir
from headwater.run import configuration
from headwater.run.settings import STAGES, Stage
from headwater.workspace.load import Loaded
from headwater.workspace.model import KafkaLogSettings

LOOK_S = (
    0.2  # between two looks at the note while a move is under way; otherwise a signal says that there is one
)

logger = logging.getLogger(__name__)


class Stages(Protocol):
    """What can be asked of the supervisor."""

    async def change(self, loaded: Loaded, stages: Sequence[Stage]) -> None:
        """Go on with these stages on this workspace."""
        ...

    def end(self) -> None:
        """Stop."""
        ...


class Relay:
    """Follows the note of one folder."""

    def __init__(self, data: DataDir, loaded: Loaded) -> None:
        self._data, self._own = data, loaded
        self._asked = asyncio.Event()
        self._move = moving.read(data)

    def hurry(self) -> None:
        """Look now."""
        self._asked.set()

    def stages(self) -> Sequence[Stage]:
        """The stages to run as far as the note is known."""
        states: dict[str, Sequence[Stage]] = {"copying": ("collector",), "returning": ()}
        return states.get(self._move.state, STAGES) if self._move else STAGES

    async def run(self, stages: Stages) -> None:
        """Follow the note until cancelled."""
        while True:
            await self._wait()
            try:
                move = moving.read(self._data)
            except LogError as error:
                logger.error("%s", error)  # noqa: TRY400 - the message says all
                continue
            if move != self._move:
                await self._follow(stages, move)

    async def _wait(self) -> None:
        under_way = self._move is not None and self._move.state != "moved"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S if under_way else None):
                await self._asked.wait()
        self._asked.clear()

    async def _follow(self, stages: Stages, move: Move | None) -> None:
        before, self._move = self._move, move
        if move is None and isinstance(self._own.workspace.log, KafkaLogSettings):
            logger.warning("the move to Kafka was taken back; start again with the workspace it began with")
            stages.end()
            return
        try:
            loaded = self._own if move is None else self._read(move)
        except ConfigError as error:
            logger.error("the log cannot be carried: %s: %s", move.workspace if move else "", error)  # noqa: TRY400
            self._move = before
            return
        logger.info("the move of the log to Kafka: %s", "taken back" if move is None else move.state)
        await stages.change(loaded, self.stages())

    def _read(self, move: Move) -> Loaded:
        return (
            self._own if Path(move.workspace) == self._own.file else configuration.read(Path(move.workspace))
        )
