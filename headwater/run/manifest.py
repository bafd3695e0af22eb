"""What a backup says of itself: manifest.json, written last, so that a folder without one is no whole backup."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from headwater.errors import HeadwaterError

NAME = "manifest.json"
FORMAT = 1


class Unusable(HeadwaterError):
    """A folder that cannot be restored from."""


class File(Struct, frozen=True):
    """One file of a backup; `path` is relative to its folder."""

    path: str
    size: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    """The contents of manifest.json."""

    format: int = FORMAT
    headwater: str  # the version that made it
    created: str
    log: str  # sqlite, or kafka where the log itself is the cluster's
    log_id: str = ""
    parts: list[str]  # what is in it: log, clickhouse, workspace
    left_out: dict[str, str]  # what is not, and why
    positions: list[Any] = []  # what the log held and how far each group had read
    files: list[File]

    @property
    def bytes(self) -> int:
        """What all files take."""
        return sum(file.size for file in self.files)


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest."""
    (folder / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")


def read(folder: Path) -> Manifest:
    """The manifest of a whole backup. Raises Unusable."""
    try:
        found = msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError:
        what = "was interrupted while it was made" if folder.is_dir() else "does not exist"
        raise Unusable(f"{folder}: is no backup ({NAME} is missing): it {what}; use another one") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unusable(f"{folder / NAME}: cannot be read: {error}; use another backup") from None
    if found.format != FORMAT:
        raise Unusable(
            f"{folder}: made by Headwater {found.headwater} in format {found.format}, this version reads {FORMAT}; "
            "restore it with the version that made it"
        )
    for file in found.files:
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise Unusable(
                f"{folder / NAME}: names {file.path!r}, which is outside the backup; nothing was restored"
            )
    return found
