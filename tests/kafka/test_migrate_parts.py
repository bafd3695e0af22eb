"""What waits in a machine's log reaches Kafka where it belongs, and what stands in the way is told before anything moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from destinations.kit.letters import open_letters
from destinations.kit.records import Dead, Resolved, Retrying, encode
from destinations.kit.records import Totals as Books
from headwater import accepted
from headwater.clock import SystemClock
from headwater.errors import LogError
from headwater.heading import Shared, Unreadable
from headwater.log import moving
from headwater.log.kafka import KafkaLog
from headwater.log.protocol import Entry, Log, Position, Record, TopicPartition
from headwater.log.sqlite import WRITERS, SqliteLog
from headwater.log.topics import (
    ACCEPTED,
    DEAD_PREFIX,
    DESTINATION_GROUP_PREFIX,
    DESTINATION_TOTALS,
    PROCESSED,
    PROCESSOR_GROUP,
    RETRY_PREFIX,
    TOTALS,
    partition_of,
)
from headwater.paths import DataDir
from headwater.run.funnel import funnel
from headwater.run.migrate.work import NotBegun, Order, look, migrate
from headwater.workspace.model import KafkaLogSettings, Workspace
from processors import totals

pytestmark = pytest.mark.kafka
HOOK = DESTINATION_GROUP_PREFIX + "hook"
NOW = SystemClock()


def order_of(folder: Path, bootstrap: str, prefix: str, days: float = 7) -> Order:
    """A folder, and a cluster of three partitions."""
    settings = KafkaLogSettings(
        brokers=[bootstrap],
        partitions=3,
        replication=1,
        min_insync_replicas=1,
        topic_prefix=prefix,
        retention_days=days,
    )
    workspace = Workspace.model_validate(
        {
            "workspace": "acme",
            "sources": {"api": {"kind": "server", "write_keys": ["wk_api"]}},
            "destinations": {"hook": {"type": "webhook", "url": "http://127.0.0.1:9/"}},
            "log": settings,
        }
    )
    return Order(DataDir(folder).make(), folder / "cluster.yaml", workspace, settings)


async def stand(log: Log, group: str, tp: TopicPartition, position: Position) -> None:
    """Let a group be somewhere."""
    owner = await log.claim(group, tp)
    transaction = owner.begin()
    transaction.advance(tp, position)
    await transaction.commit()
    await owner.close()


def arrivals(begin: int, ends: int) -> Record:
    """What one request left in the log: events of several people under one heading."""
    shared = Shared(source_id="api", channel="server", received_at="2026-11-25T10:00:00.000Z")
    bodies = [
        msgspec.json.encode({"type": "track", "event": "E", "messageId": f"m{n}", "userId": f"u{n % 5}"})
        for n in range(begin, ends)
    ]
    heading = accepted.heading(accepted.encode_shared(shared), len(bodies))
    return Record(b"\n".join([heading, *bodies]), events=len(bodies))


async def fill(log: Log) -> None:
    """Ten events processed, of which the webhook has read six, and ten that wait for the processors; retries; letters."""
    event = Raw(b'{"messageId":"x"}')
    await log.append([Entry(ACCEPTED, 0, arrivals(0, 10)), Entry(ACCEPTED, 0, arrivals(10, 20))])
    await stand(log, PROCESSOR_GROUP, TopicPartition(ACCEPTED, 0), Position(1))
    lines = [msgspec.json.encode({"messageId": f"m{n}", "userId": f"u{n % 5}"}) for n in range(10)]
    counts = totals.Totals(partition=0, log="old", accepted=10, processed={"api": {"track": 10}})
    await log.append(
        [Entry(PROCESSED, 0, Record(b"\n".join(lines), events=10)), Entry(TOTALS, 0, counts.record())]
    )
    await stand(log, HOOK, TopicPartition(PROCESSED, 0), Position(0, "line=6"))
    waiting = [Retrying(due_ms=n, attempts=1, first_ms=1, reason="no", event=event) for n in range(2)]
    await log.append([Entry(RETRY_PREFIX + "hook", 2, Record(encode(one))) for one in waiting])
    await stand(log, HOOK, TopicPartition(RETRY_PREFIX + "hook", 2), Position(1))
    dead = [Dead(at_ms=1, code=code, event=event) for code in ("A", "B", "C")]
    decided = Resolved(at_ms=2, state="discarded", offsets=[1])
    await log.append([Entry(DEAD_PREFIX + "hook", 0, Record(encode(one))) for one in (*dead, decided)])
    books = Books(destination="hook", read=6, delivered=2, retrying=1, dead=2, discarded=1, logs={"0": "old"})
    await log.append([Entry(DESTINATION_TOTALS, 0, Record(encode(books), key=b"hook"))])


async def everything(log: Log, topic: str) -> list[tuple[int, Record]]:
    """All records of a topic, with their partitions."""
    return [
        (number, record)
        for number in range(log.partitions(topic))
        for record in (await log.read(TopicPartition(topic, number), 0)).records
    ]


def silent(_topic: str, _total: int) -> Callable[[int], None]:
    """Progress that nobody looks at."""
    return lambda _: None


async def test_backlog_retries_letters_and_counts_are_carried(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Each event to its key's partition, each reader to its place, and the funnel goes on where it was."""
    order = order_of(tmp_path, kafka, topic_prefix)
    async with SqliteLog(order.data, NOW, writers=WRITERS) as old:
        await fill(old)
    outcome = await migrate(order, NOW, silent)
    assert outcome.events == {
        **dict.fromkeys(("events.dropped", "profiles", "deliveries"), 0),
        "events.accepted": 10,
        "events.processed": 10,
        "retry.hook": 1,
        "dead.hook": 2,
    }
    async with KafkaLog(order.settings) as new:
        backlog = [
            (n, one)
            for n, record in await everything(new, ACCEPTED)
            for one in accepted.read_whole(record.value)
        ]
        assert {(n, one.message_id) for n, one in backlog if not isinstance(one, Unreadable)} == {
            (partition_of(f"u{number % 5}", 3), f"m{number}") for number in range(10, 20)
        }
        books = await funnel(new, ["hook"], NOW.now_ms())
        assert (books.accepted, books.processed, books.in_flight, books.adds_up) == (20, 10, 10, True)
        assert (books.destinations["hook"].read, books.destinations["hook"].lag) == (6, 4)
        assert [one.dead.code async for one in open_letters(new, "hook")] == ["A", "C"]
        assert [number for number, _ in await everything(new, RETRY_PREFIX + "hook")] == [2]
        [(_, row)] = await everything(new, DESTINATION_TOTALS)
        kept = msgspec.json.decode(row.value or b"", type=Books)
        ids = [totals.decode(record.value or b"").log for _, record in await everything(new, TOTALS)]
        assert (kept.logs, kept.before) == ({str(n): id_ for n, id_ in enumerate(ids)}, 1)
    note = moving.read(order.data)
    assert note is not None
    assert note.state == "moved"
    with pytest.raises(LogError, match="was carried to Kafka before"):
        await migrate(order, NOW, silent)


async def test_what_cannot_be_carried_is_told_and_nothing_has_changed(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """An insert that was cut off, events older than Kafka keeps them, topics that hold something."""
    order = order_of(tmp_path, kafka, topic_prefix)
    long_ago = NOW.now_ms() - 2 * 86_400_000
    async with SqliteLog(order.data, NOW, writers=WRITERS) as old:
        await old.append([Entry(PROCESSED, 0, Record(b'{"messageId":"m"}', timestamp=long_ago))] * 2)
        await stand(old, HOOK, TopicPartition(PROCESSED, 0), Position(0, '{"to": 1}'))
    with pytest.raises(NotBegun, match="destination hook was ended in the middle of an insert"):
        await migrate(order, NOW, silent)
    assert moving.read(order.data) is None
    with pytest.raises(LogError, match=r"older than log.retention_days \(1\)"):
        await migrate(order_of(tmp_path, kafka, topic_prefix, days=1), NOW, silent)
    async with KafkaLog(order.settings) as new:
        await new.append([Entry(PROCESSED, 1, Record(b"{}"))])
    with pytest.raises(LogError, match=r"events.processed is not empty"):
        await look(order, NOW)
    assert moving.read(order.data) is None
    async with SqliteLog(order.data, NOW, writers=WRITERS) as old:
        assert (await old.bounds(TopicPartition(PROCESSED, 0))).end == 2
