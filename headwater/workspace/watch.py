"""Brings changes of headwater.yaml into force while a process runs; an invalid file changes nothing and is told loudly.

The file is looked at twice a second (a `stat` costs microseconds, works on every file system, and sees editors that save by
renaming). A change is read once it has been still for one look, so that a half-written file is not judged. Files behind
`file:` references are looked at too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from headwater.errors import ConfigError
from headwater.workspace.diff import diff, fixed
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.load import Loaded

logger = logging.getLogger(__name__)

POLL_S = 0.5
Signature = tuple[tuple[int, int, int] | None, ...]


class Watcher:
    """Watches the files of one workspace; `run` is the task."""

    def __init__(
        self,
        live: LiveWorkspace,
        loaded: Loaded,
        reload: Callable[[], Loaded],
        *,
        applied: Callable[[Loaded], None] | None = None,
        told_elsewhere: bool = False,
    ) -> None:
        """`reload` loads or raises ConfigError; `applied` hears of each accepted file, before the readers of `live` do;
        with `told_elsewhere` (children of a supervisor that watches too) problems are logged for debugging only.
        """
        self._live, self._loaded, self._reload = live, loaded, reload
        self._applied = applied
        self._problem_level = logging.DEBUG if told_elsewhere else logging.ERROR
        self._hurry = asyncio.Event()
        self._seen = self.signature()

    def hurry(self) -> None:
        """Read the file again now, changed or not (SIGHUP)."""
        self._hurry.set()

    def signature(self) -> Signature:
        """What `stat` says of every file involved; None for one that is not there."""
        return tuple(_stat(path) for path in _files(self._loaded))

    async def run(self, poll_s: float = POLL_S) -> None:
        """Watch until cancelled."""
        unsettled: Signature | None = None
        while True:
            if await self._asked(poll_s):
                unsettled = None
                await self._read()
                continue
            now = self.signature()
            if now == self._seen:
                unsettled = None
            elif now == unsettled:
                unsettled = None
                await self._read()
            else:
                unsettled = now

    async def _asked(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return False
        self._hurry.clear()
        return True

    async def _read(self) -> None:
        self._seen = self.signature()
        try:
            loaded = await asyncio.to_thread(self._reload)
        except ConfigError as error:
            self._refuse(error)
            return
        except Exception:  # the supervisor of a reload: no file, however odd, may end a process that works
            logger.exception("the workspace could not be read, the old one stays in force")
            return
        if refused := fixed(self._live.current, loaded.workspace, str(loaded.file)):
            self._refuse(ConfigError(refused))
            return
        self._loaded = loaded
        self._seen = self.signature()
        changes = diff(self._live.current, loaded.workspace)
        self._tell(loaded)
        if changes:
            self._live.replace(loaded.workspace)
            logger.info("workspace version %d in force: %s", self._live.version, "; ".join(changes))

    def _tell(self, loaded: Loaded) -> None:
        try:
            if self._applied is not None:
                self._applied(loaded)
        except (
            OSError
        ) as error:  # a full disk: what is written down about the workspace is stale, what works goes on
            logger.error("the new workspace could not be noted in the data folder: %s", error)  # noqa: TRY400

    def _refuse(self, error: ConfigError) -> None:
        logger.log(
            self._problem_level,
            "workspace change REFUSED, the old one stays in force; %d problem(s), run `headwater check`:\n%s",
            len(error.problems),
            error,
        )


def _files(loaded: Loaded) -> Iterable[Path]:
    return (loaded.file, *sorted(loaded.references))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
