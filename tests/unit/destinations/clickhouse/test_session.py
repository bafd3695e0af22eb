"""A partition that is taken away in the middle of reading: nothing of it stays to be loaded a second time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from destinations.clickhouse.gathering import MakeRows
from destinations.clickhouse.portions import CHUNK_ROWS, Portion, Prepared
from destinations.clickhouse.session import Session
from destinations.kit.books import Page
from headwater.clock import ManualClock
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Batch, Record, TopicPartition

FIRST, SECOND = (TopicPartition(topics.PROCESSED, number) for number in (0, 1))


class SlowOwner:
    """Lets go of its partition when it is told to."""

    def __init__(self) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def close(self) -> None:
        """Takes a while, as talking to brokers does."""
        self.asked.set()
        await self.go.wait()


async def rows(portions: Sequence[Portion]) -> list[Prepared]:
    """Rows are not the point here."""
    return [Prepared(portion) for portion in portions]


def owning(make_rows: MakeRows, *owners: object) -> Session:
    """A session that owns two partitions and reads on."""
    loader = SimpleNamespace(
        log=MemoryLog(), name="w", clock=ManualClock(), make_rows=make_rows, give_up=lambda **_: None
    )
    session = Session(cast("Any", loader))
    session._consumer = cast("Any", SimpleNamespace(is_current=lambda _: True))
    for tp, owner in zip((FIRST, SECOND), owners, strict=True):
        session._pages[tp] = cast("Page", SimpleNamespace(owner=owner, before=0, tp=tp))
    return session


def batch(begin: int, end: int) -> Batch:
    """Records of the second partition."""
    records = [Record(b"x", events=1, offset=offset) for offset in range(begin, end)]
    return Batch(SECOND.topic, SECOND.partition, records, end, 1)


async def test_what_is_read_while_partitions_are_let_go_of_is_not_kept() -> None:
    """The loop polls on while the first owner closes; a batch of the second, still current, must not wait for its return."""
    owner = SlowOwner()
    session = owning(rows, owner, owner)
    session._take(batch(100, 105))
    revoking = asyncio.create_task(session.revoked([FIRST, SECOND]))
    await owner.asked.wait()
    session._take(batch(105, 110))
    owner.go.set()
    await revoking
    assert await session._waiting.give([True]) == []


async def test_partitions_are_let_go_of_though_their_rows_cannot_be_made() -> None:
    """What making rows raised is told, and no owner is left that nobody closes; one that cannot be closed holds up no other."""
    closed = []

    class Owner:
        async def close(self) -> None:
            closed.append(self)
            raise ConnectionError("away")

    async def broken(portions: Sequence[Portion]) -> list[Prepared]:
        raise MemoryError(len(portions))

    session = owning(broken, Owner(), Owner())
    session._take(batch(0, CHUNK_ROWS))
    with pytest.raises(ConnectionError) as raised:
        await session.revoked([FIRST, SECOND])
    assert len(closed) == 2
    assert isinstance(raised.value.__context__, ConnectionError)
    assert isinstance(raised.value.__context__.__context__, MemoryError)
    assert not session._pages
