"""The note that a folder's log goes to Kafka: who may write what meanwhile, and in which words it is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from headwater.clock import SystemClock
from headwater.errors import LogError, LogUnavailable
from headwater.log import moving
from headwater.log.memory import MemoryLog
from headwater.log.moving import Move
from headwater.log.open import open_log, spooled
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.log.topics import ACCEPTED
from headwater.paths import DataDir
from headwater.workspace.model import KafkaLogSettings, SqliteLogSettings

KAFKA = KafkaLogSettings(brokers=["127.0.0.1:9"], partitions=3, topic_prefix="hw.")
State = Literal["copying", "returning", "moved"]


def noted(folder: Path, state: State) -> DataDir:
    """A folder whose log is on its way, or was."""
    data = DataDir(folder).make()
    move = Move(
        id="0" * 32, state=state, workspace="/etc/cluster.yaml", before="", topic_prefix="hw.", partitions=3,
        destinations=[], began_ms=1,
    )  # fmt: skip
    moving.write(data, move)
    assert moving.read(data) == move
    return data


@pytest.mark.parametrize("state", ["copying", "returning", "moved"])
@pytest.mark.parametrize("writer", ["collector", "processor", "destinations"])
def test_nobody_writes_the_old_log(
    tmp_path: Path, state: State, writer: Literal["collector", "processor", "destinations"]
) -> None:
    """Not even after a restart with the old workspace; the message names the new one."""
    data = noted(tmp_path, state)
    with pytest.raises(LogError, match=r"start with --workspace /etc/cluster\.yaml"):
        open_log(SqliteLogSettings(), data, writer)


def test_the_old_log_can_be_read(tmp_path: Path) -> None:
    """Looking at history is allowed."""
    open_log(SqliteLogSettings(), noted(tmp_path, "moved"), None)


def test_other_topics_than_those_of_the_move_are_refused(tmp_path: Path) -> None:
    """A third workspace would leave what the collector keeps meanwhile behind."""
    other = KAFKA.model_copy(update={"topic_prefix": "other."})
    with pytest.raises(LogError, match=r"as topics hw\.\* with 3 partitions"):
        open_log(other, noted(tmp_path, "copying"), "collector")


@pytest.mark.parametrize("writer", ["processor", "destinations"])
def test_the_other_stages_wait_for_the_copy(
    tmp_path: Path, writer: Literal["processor", "destinations"]
) -> None:
    """They would see half of what there is."""
    with pytest.raises(LogUnavailable, match="run it again"):
        open_log(KAFKA, noted(tmp_path, "copying"), writer)


async def test_what_is_accepted_during_the_copy_comes_behind_it(tmp_path: Path) -> None:
    """The spool acknowledges, keeps the order, and lets nothing go to the log before the note says so."""
    data, inner = noted(tmp_path, "copying"), MemoryLog()
    async with spooled(inner, 1 << 20, 1, data, SystemClock()) as log:
        for value in (b"first", b"second"):
            await log.append([Entry(ACCEPTED, 0, Record(value))])
        await inner.append([Entry(ACCEPTED, 0, Record(b"copied"))])
        noted(tmp_path, "moved")
        tp = TopicPartition(ACCEPTED, 0)
        async with asyncio.timeout(30):
            while (await inner.bounds(tp)).end < 3:
                await inner.wait([ACCEPTED], 1)
        found = await inner.read(tp, 0)
    assert [record.value for record in found.records] == [b"copied", b"first", b"second"]


async def test_without_room_in_the_spool_clients_are_told_to_come_again(tmp_path: Path) -> None:
    """A spool that is switched off must not let events overtake the copy."""
    data, inner = noted(tmp_path, "copying"), MemoryLog()
    async with spooled(inner, 0, 1, data, SystemClock()) as log:
        with pytest.raises(LogUnavailable, match="spool is full"):
            await log.append([Entry(ACCEPTED, 0, Record(b"x"))])
    assert (await inner.bounds(TopicPartition(ACCEPTED, 0))).end == 0


def test_a_note_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    """Whether the log is on Kafka is then not known."""
    data = noted(tmp_path, "moved")
    data.move.write_bytes(b"{")
    with pytest.raises(LogError, match="restore it from a backup"):
        open_log(SqliteLogSettings(), data, "collector")
    moving.forget(data)
    assert moving.read(data) is None
