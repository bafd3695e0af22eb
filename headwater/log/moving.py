"""The note in a data folder that its SQLite log is being carried to Kafka, or was: who may write what meanwhile.

`copying`: nobody writes the SQLite files; the collector keeps what it accepts in its spool, the other stages wait.
`returning`: nobody writes anything but the command that puts the spool's events back into the SQLite files.
`moved`: the SQLite files are history, and no stage ever writes to them again.
"""

from __future__ import annotations

import contextlib
import os
from typing import Literal
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from headwater.errors import LogError, LogUnavailable
from headwater.log.sqlite_file import sync
from headwater.log.topics import Writer
from headwater.paths import DataDir
from headwater.workspace.model import KafkaLogSettings, LogSettings


class Move(Struct, kw_only=True, frozen=True):
    """A move under way or done. `id` names it; the ids of the new log's partitions are made from it."""

    id: str
    state: Literal["copying", "returning", "moved"]
    workspace: str  # the file that says where the log goes
    before: str  # the file that the folder ran with
    topic_prefix: str
    partitions: int
    destinations: list[str]  # whose backlog is carried
    began_ms: int
    ended_ms: int = 0

    def log_id(self, partition: int) -> str:
        """The id of a partition of the new log, the same each time the command is run."""
        return uuid5(UUID(self.id), str(partition)).hex


def read(data: DataDir) -> Move | None:
    """The move of the folder; None where there is none. Raises LogError for a note that cannot be read."""
    try:
        return msgspec.json.decode(data.move.read_bytes(), type=Move)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise LogError(
            f"{data.move}: cannot be read ({error}); it says whether the log of this folder is on Kafka: restore it from "
            "a backup, or ask `headwater topics plan` what Kafka holds before you remove it"
        ) from error


def write(data: DataDir, move: Move) -> None:
    """Note it, durably."""
    aside = data.move.with_name(f"{data.move.name}.{os.getpid()}")
    with aside.open("wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(move)) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(data.move)
    sync(data.root)


def forget(data: DataDir) -> None:
    """The move never happened."""
    with contextlib.suppress(FileNotFoundError):
        data.move.unlink()
    sync(data.root)


def check(data: DataDir, settings: LogSettings, writer: Writer) -> None:
    """Raises LogError where this process may not write this log of the folder, LogUnavailable where not yet."""
    move = read(data)
    if move is None:
        return
    if not isinstance(settings, KafkaLogSettings):
        instead = (
            "" if move.state == "moved" else f", or take it back: headwater migrate --rollback {data.option}"
        )
        raise LogError(
            f"the log of {data.root} {_told(move)}, and nothing is written to {data.log} any more; start with "
            f"--workspace {move.workspace}{instead}"
        )
    if move.state == "moved":
        return
    if settings.topic_prefix != move.topic_prefix or settings.partitions != move.partitions:
        raise LogError(
            f"the log of {data.root} {_told(move)} as topics {move.topic_prefix}* with {move.partitions} partitions, this "
            f"workspace names {settings.topic_prefix}* with {settings.partitions}; start with --workspace {move.workspace}"
        )
    if writer != "collector" or move.state == "returning":
        raise LogUnavailable(waiting(data))


def held(data: DataDir) -> str:
    """Why the collector is not to write to Kafka yet; empty where it may."""
    move = read(data)
    return "" if move is None or move.state == "moved" else waiting(data)


def waiting(data: DataDir) -> str:
    """A move that has not ended, in words."""
    return (
        f"the log of {data.root} is being carried to Kafka (`headwater migrate`); where the command was ended, run it "
        "again: it goes on where it was"
    )


def _told(move: Move) -> str:
    return "was carried to Kafka" if move.state == "moved" else "is being carried to Kafka"
