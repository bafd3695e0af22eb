"""Putting a backup in place: everything is verified before anything is touched, and the folder appears as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from headwater.clock import Clock
from headwater.errors import AlreadyRunning
from headwater.paths import DataDir
from headwater.run import files, manifest
from headwater.run.backup import SPARE_BYTES, CannotBackUp, refuse_occupied
from headwater.run.copying import Rate, copy, described, sync_folders
from headwater.run.disk import free_bytes
from headwater.run.manifest import Manifest, Unusable
from headwater.run.settings import Stage


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put in place, and where the folder's former content is now (None: there was none)."""

    manifest: Manifest
    aside: Path | None


def restore(
    folder: Path,
    data: DataDir,
    clock: Clock,
    begin: Callable[[int], None],
    report: Callable[[int], None],
    *,
    force: bool,
) -> Restored:
    """Verify the backup, then put it in place of `data`. Raises Unusable, CannotBackUp, AlreadyRunning.

    With `force` what the folder holds is moved aside, never removed.
    """
    found = manifest.read(folder)
    root = data.root.absolute()
    _refuse_running(data)
    if not force:
        refuse_occupied(root, "restore to")
    elif root.is_mount():
        raise CannotBackUp(
            f"{root}: is a mount point, which cannot be moved aside; restore to a folder below it"
        )
    if (free := free_bytes(root)) < found.bytes + SPARE_BYTES:
        raise CannotBackUp(f"{root}: {found.bytes} bytes are to be restored, {free} are free; make space")
    begin(2 * found.bytes)
    rate = Rate(0, report)
    verify(folder, found, rate)
    draft = _copied(folder, found, root, rate)
    aside = _move_aside(root, clock)
    draft.rename(root)
    sync_folders(root)
    return Restored(found, aside)


def verify(folder: Path, found: Manifest, rate: Rate) -> None:
    """Every file is there, as long and with the content that the manifest says. Raises Unusable."""
    for file in found.files:
        path = folder / file.path
        size = path.stat().st_size if path.is_file() else -1
        if size != file.size:
            have = f"has {size} bytes instead of {file.size}" if size >= 0 else "is missing"
            raise Unusable(f"{path}: {have}; nothing was restored, use another backup")
    for file in found.files:
        if described(folder, Path(file.path), rate).sha256 != file.sha256:
            raise _damaged(folder / file.path)


def _damaged(path: Path) -> Unusable:
    return Unusable(
        f"{path}: its content is not what was backed up; nothing was restored, use another backup"
    )


def _refuse_running(data: DataDir) -> None:
    locks = [files.up_lock(data), *(files.stage_lock(data, stage) for stage in get_args(Stage))]
    for lock in locks:
        if files.is_held(lock):
            pid = files.holder_of(lock).pid
            raise AlreadyRunning(
                f"{data.root}: process {pid} works on it; stop it first, or use another --dir", pid
            )


def _copied(folder: Path, found: Manifest, root: Path, rate: Rate) -> Path:
    """The files beside their place; what an interrupted restore left there is removed first."""
    draft = root.with_name(root.name + ".restoring")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700, parents=True)
    try:
        _copy_all(folder, found, draft, rate)
        sync_folders(draft)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CannotBackUp(f"{draft}: cannot be written: {error}") from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return draft


def _copy_all(folder: Path, found: Manifest, draft: Path, rate: Rate) -> None:
    """Copy, verifying once more: a disk that fails may give other bytes the second time."""
    for file in found.files:
        if copy(folder / file.path, draft / file.path, rate) != file.sha256:
            raise _damaged(folder / file.path)


def _move_aside(root: Path, clock: Clock) -> Path | None:
    if not root.exists():
        return None
    if not any(root.iterdir()):
        root.rmdir()
        return None
    aside = root.with_name(f"{root.name}.before-restore-{clock.now_ms()}")
    root.rename(aside)
    return aside
