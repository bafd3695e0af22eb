"""The consumer's fetching without a broker: what is held, what is thrown away, and what never is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import CorruptRecordException

from headwater.errors import LogUnavailable
from headwater.log.kafka import consumer as module
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.consumer import KafkaMember
from headwater.log.kafka.place import HELD_BYTES, Place
from headwater.log.kafka.wire import Fetched
from headwater.log.protocol import Record, TopicPartition
from headwater.log.topics import ACCEPTED
from headwater.workspace.model import KafkaLogSettings

P0, P1 = TopicPartition(ACCEPTED, 0), TopicPartition(ACCEPTED, 1)


class Answer(Fetched):
    """An answer with these records; one that is None is damaged."""

    def __init__(self, offset: int, *records: Record | None, size: int = 100) -> None:
        super().__init__(offset, offset + len(records), object(), size)
        self._records = list(records)

    def take(self, max_bytes: int) -> list[Record]:
        """All of them."""
        del max_bytes
        if None in self._records:
            raise CorruptRecordException("bits were flipped")
        self.offset, self.messages = self.stable, None
        return [record for record in self._records if record is not None]


class Broker:
    """Answers fetches from a list of records for each partition, and notes what was asked."""

    prefix = ""

    def __init__(self) -> None:
        self.asked: list[dict[TopicPartition, int]] = []
        self.records = [Record(b"%d" % n, offset=n) for n in range(6)]

    async def fetch(
        self, _client: object, _node: int, wanted: dict[TopicPartition, int], *_: int
    ) -> dict[TopicPartition, Fetched]:
        """Two records for each partition."""
        self.asked.append(dict(wanted))
        return {tp: Answer(offset, *self.records[offset : offset + 2]) for tp, offset in wanted.items()}


def member_of(broker: Broker, **places: Place) -> KafkaMember:
    """A member with these places (`p0`, `p1`), in a group that works."""
    as_cluster, siblings = cast("Any", broker), cast("Any", SimpleNamespace())
    member = KafkaMember(
        Connection(KafkaLogSettings(brokers=["k:9092"])),
        as_cluster,
        "g",
        [ACCEPTED],
        None,
        siblings,
    )
    client: Any = SimpleNamespace(cluster=SimpleNamespace(leader_for_partition=lambda tp: tp.partition))
    working: Any = SimpleNamespace(check_errors=lambda: None)
    member._client, member._coordinator = client, working
    member._places = {TopicPartition(ACCEPTED, int(name[1:])): place for name, place in places.items()}
    return member


async def test_what_follows_at_once_gathers_and_nothing_of_it_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next poll waits for company, at most as long as its caller; the first one after a silence does not wait."""
    monkeypatch.setattr(module, "GATHER_S", 0.2)
    broker = Broker()
    member = member_of(broker, p0=Place(101, 2, Answer(2, *broker.records[2:4])))
    loop = asyncio.get_running_loop()
    (first,) = await member.poll()
    polled = loop.time()
    await asyncio.gather(*member._fetches.values())
    assert await member.poll(timeout=0.001) == []
    (second,) = await member.poll(timeout=10)
    assert loop.time() - polled >= 0.2
    assert [record.offset for record in (*first.records, *second.records)] == [2, 3, 4, 5]
    await asyncio.gather(*member._fetches.values())


async def test_a_seek_right_after_a_poll_is_not_undone_by_the_fetch_it_began() -> None:
    """The next answer is asked for while the last one is processed; who seeks back at once gets what it asked for."""
    broker = Broker()
    member = member_of(broker, p0=Place(101, 2, Answer(2, *broker.records[2:4])))
    (batch,) = await member.poll()
    assert batch.next_offset == 4
    member.seek(P0, 2)
    (again,) = await member.poll(timeout=10)
    assert [record.offset for record in again.records] == [2, 3]
    await asyncio.gather(*member._fetches.values())


async def test_a_fetch_begun_before_partitions_were_taken_away_ends_quietly() -> None:
    """The task may begin after the rebalance."""
    broker = Broker()
    member = member_of(broker, p0=Place(101, 0))
    member._pump()
    member._places = {}
    (task,) = member._fetches.values()
    await task
    assert broker.asked == [{P0: 0}]


async def test_a_damaged_answer_takes_no_other_partitions_records_with_it() -> None:
    """What one partition gave is returned; the damaged one is told by the next poll and fetched anew from where it was."""
    broker = Broker()
    member = member_of(
        broker,
        p0=Place(101, 0, Answer(0, *broker.records[:2])),
        p1=Place(102, 0, Answer(0, broker.records[0], None)),
    )
    member._first = 1  # so that the sound one comes first
    (batch,) = await member.poll()
    assert (batch.tp, len(batch.records)) == (P0, 2)
    async with asyncio.timeout(10):
        while P1 not in {found.tp for found in await member.poll()}:
            continue
    assert {P1: 0} in broker.asked


async def test_a_damaged_answer_is_an_error_where_there_is_nothing_else() -> None:
    """The consumer says what it cannot read, and reads it again from the same place."""
    broker = Broker()
    member = member_of(broker, p1=Place(102, 0, Answer(0, None)))
    with pytest.raises(LogUnavailable, match=r"cannot unpack events.accepted\[1\]"):
        await member.poll()
    (batch,) = await member.poll(timeout=10)
    assert batch.records[0].offset == 0
    await asyncio.gather(*member._fetches.values())


async def test_so_much_is_held_and_no_more() -> None:
    """A thousand partitions do not each hold an answer: nothing is asked for while enough is here."""
    broker = Broker()
    full = Answer(0, *broker.records[:2], size=HELD_BYTES)
    member = member_of(broker, p0=Place(101, 0, full), p1=Place(102, 0))
    member._pump()
    assert member._fetches == {}
    member.pause([P0])  # nobody will poll it now: it must not keep the other from being read
    member._pump()
    assert list(member._fetches) == [1]
    await asyncio.gather(*member._fetches.values())
    member.resume([P0])
    member._places.pop(P1)
    (batch,) = await member.poll(timeout=10)
    assert (batch.tp, batch.records[0].offset) == (P0, 0)
    await asyncio.gather(*member._fetches.values())


async def test_a_partition_without_a_leader_is_not_asked_for_in_a_circle() -> None:
    """The brokers answer at once that there is none; a second's poll asks them a few times, not a thousand."""
    member = member_of(Broker(), p0=Place(101, 0))
    asked: list[None] = []

    async def update() -> None:
        asked.append(None)

    member._client = cast(
        "Any",
        SimpleNamespace(
            cluster=SimpleNamespace(leader_for_partition=lambda _: None), force_metadata_update=update
        ),
    )
    assert await member.poll(timeout=2.5 * module.RETRY_S) == []
    assert 1 <= len(asked) <= 3
    await asyncio.gather(*member._fetches.values())
