"""A transaction of which a step fails: what its owner hears is what it can act on, never that aiokafka has moved on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from aiokafka.errors import IllegalOperation, ProducerFenced, RequestTimedOutError

from headwater.clock import ManualClock
from headwater.errors import Fenced, HeadwaterError, LogUnavailable
from headwater.log.kafka import owner
from headwater.log.kafka.owner import Fences, KafkaClaim
from headwater.log.protocol import Position, Record, TopicPartition
from headwater.log.topics import ACCEPTED, DROPPED, PROCESSED

IN = TopicPartition(ACCEPTED, 0)
OVER = IllegalOperation("Can't send messages while not in transaction")


class Producer:
    """One of aiokafka's: what was sent last fails first, and then it is in no transaction any more."""

    _sender = None

    def __init__(self, writing: BaseException, advancing: BaseException) -> None:
        self._writing, self._advancing = writing, advancing

    async def begin_transaction(self) -> None:
        """Always."""

    def create_batch(self) -> Producer:
        """Of one record."""
        return self

    def append(self, **_: object) -> object:
        """It fits."""
        return self

    async def send_batch(self, *_: object, **__: object) -> object:
        """Never."""
        raise self._writing

    async def send_offsets_to_transaction(self, *_: object) -> None:
        """Never."""
        raise self._advancing


class Told:
    """The log, which hears of fences."""

    def __init__(self) -> None:
        self.groups: list[str] = []

    def wrote(self, topics: Sequence[str]) -> None:
        """Nothing is."""
        raise AssertionError(topics)

    def refused(self, group: str) -> None:
        """Keep it."""
        self.groups.append(group)


@pytest.mark.parametrize(
    ("writing", "advancing", "expected"),
    [
        (OVER, RequestTimedOutError(), LogUnavailable),
        (OVER, OVER, LogUnavailable),
        (OVER, ProducerFenced(), Fenced),
        (ProducerFenced(), OVER, Fenced),
    ],
)
def test_a_producer_that_is_in_no_transaction_any_more_is_an_outage(
    monkeypatch: pytest.MonkeyPatch,
    writing: BaseException,
    advancing: BaseException,
    expected: type[HeadwaterError],
) -> None:
    """One step failed, the others only hear that it is over: an outage, or a fence where one of them was told of one."""
    monkeypatch.setattr(owner, "hush", lambda _: None)
    told = Told()

    async def commit() -> None:
        claim = KafkaClaim(
            cast("Any", None), "g", IN, Producer(writing, advancing), cast("Any", None), lambda: None
        )
        outputs = {TopicPartition(topic, 0): [Record(b"{}")] for topic in (PROCESSED, DROPPED)}
        await owner.commit(claim, outputs, {IN: Position(1)}, "", ManualClock(), told)

    with pytest.raises(expected) as raised:
        asyncio.run(commit())
    assert type(raised.value) is expected
    assert told.groups == (["g"] if expected is Fenced else [])


async def test_fences_that_nobody_took_are_let_go_of_although_that_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rebalance that takes too long is cancelled in the middle; the producers it did not get to would be open for ever."""
    let_go: list[TopicPartition] = []
    closing, closed = asyncio.Event(), asyncio.Event()

    async def raise_fence(_connection: object, _group: str, tp: TopicPartition) -> Any:
        return tp

    async def abandon(tp: Any) -> None:
        closing.set()
        await closed.wait()
        let_go.append(tp)

    monkeypatch.setattr(owner, "raise_fence", raise_fence)
    monkeypatch.setattr(owner, "abandon", abandon)
    fences, beside = Fences(cast("Any", None)), [TopicPartition(ACCEPTED, number) for number in (1, 2)]
    assert await fences.take("g", IN, beside) == IN
    dropping = asyncio.create_task(fences.drop("g"))
    await closing.wait()
    dropping.cancel()
    await asyncio.wait([dropping])
    closed.set()
    await fences.drop()
    assert sorted(let_go) == beside
