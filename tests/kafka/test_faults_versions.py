"""A rolling upgrade: hosts of two versions share the topics. What is older is read; what is newer is refused, not misread."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headwater import accepted, codec, profile
from headwater.clock import SystemClock
from headwater.errors import SchemaMismatch
from headwater.heading import Shared
from headwater.log.protocol import Entry, Log, Record, TopicPartition
from headwater.log.topics import ACCEPTED, DESTINATION_TOTALS, PROFILES, TOTALS
from headwater.paths import DataDir
from headwater.timestamps import iso
from processors import totals
from tests.support import delivering, processing

pytestmark = pytest.mark.kafka


def shared_record(*message_ids: str) -> Record:
    """Events behind one heading, as collectors of today write most of them."""
    now = iso(SystemClock().now_ms())
    heading = Shared(source_id="web", channel="browser", received_at=now, sent_at=now)
    bodies = [
        codec.dumps({"type": "track", "event": "E", "messageId": one, "anonymousId": "a", "timestamp": now})
        for one in message_ids
    ]
    first = accepted.heading(accepted.encode_shared(heading), len(bodies))
    return Record(b"\n".join([first, *bodies]), events=len(bodies))


async def test_both_forms_of_accepted_records_are_read_side_by_side(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A collector that writes a header for each event and one that writes a shared heading feed one processor."""
    async with processing.kafka_log(processing.settings(kafka, topic_prefix)) as log:
        await processing.accept(log, "old-1")
        await log.append([Entry(ACCEPTED, 0, shared_record("new-1", "new-2"))])
        mixed = b"\n".join([processing.line("old-2"), shared_record("old-1", "new-3").value or b""])
        await log.append([Entry(ACCEPTED, 0, Record(mixed, events=3))])
        async with processing.processing(log, tmp_path):
            found = await processing.balanced(log, 6)
        assert await processing.processed_ids(log) == ["old-1", "new-1", "new-2", "old-2", "new-3"]
    assert found.dropped == {"duplicate": 1}, "a copy is found whatever form it comes in"


async def newest(log: Log, topic: str) -> Record:
    """The last record of a topic's first partition."""
    tp = TopicPartition(topic, 0)
    begin, _ = await log.bounds(tp)
    return (await log.read(tp, begin)).records[-1]


async def refused(log: Log, folder: Path, topic: str, key: bytes, newer: bytes) -> str:
    """Write a row as a newer version would, start a processor, and return why it ends."""
    await log.append([Entry(topic, 0, Record(newer, key=key))])
    with pytest.raises(SchemaMismatch) as ended:
        async with processing.processing(log, folder) as work:
            await work
    assert (await newest(log, topic)).value == newer, "it has written nothing over it"
    return str(ended.value)


async def test_totals_of_a_newer_version_are_refused_and_left_alone(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Counting on from them would lose what the newer version counts besides."""
    async with processing.kafka_log(processing.settings(kafka, topic_prefix)) as log:
        await processing.accept(log, "m1")
        async with processing.processing(log, tmp_path):
            await processing.balanced(log, 1)
        row = codec.loads((await newest(log, TOTALS)).value or b"")
        newer = codec.dumps({**row, "sampled": {"web": 3}})
        told = await refused(log, tmp_path, TOTALS, totals.key_of(0), newer)
    assert "topic totals" in told
    assert "`sampled`" in told
    assert "Run the newest version" in told


async def test_profiles_of_a_newer_version_are_refused_and_left_alone(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Merging such a row would publish it without what the newer version knows."""
    key = profile.user_key("u1")
    row = codec.loads(profile.encode(profile.User("u1", first_seen=1, last_seen=2)))
    newer = codec.dumps({**row, "consent": {"ads": False}})
    async with processing.kafka_log(processing.settings(kafka, topic_prefix)) as log:
        told = await refused(log, tmp_path, PROFILES, key.encode(), newer)
    assert "topic profiles" in told
    assert "`consent`" in told


async def test_a_state_folder_of_a_newer_version_is_refused_with_what_to_do(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """It is a cache: the message names the folder and says that it may be deleted."""
    import lmdb

    async with processing.kafka_log(processing.settings(kafka, topic_prefix)) as log:
        await processing.accept(log, "m1")
        async with processing.processing(log, tmp_path):
            await processing.balanced(log, 1)
        folder = DataDir(tmp_path).state / "0"
        with lmdb.open(str(folder), max_dbs=4) as env, env.begin(write=True) as txn:
            txn.put(b"schema", b"9", db=env.open_db(b"meta", txn))
        with pytest.raises(SchemaMismatch, match=f"rm -r '{folder}'"):
            async with processing.processing(log, tmp_path) as work:
                await work


async def test_a_destinations_totals_of_a_newer_version_are_refused(kafka: str, topic_prefix: str) -> None:
    """As for a processor: its counts are not continued from half of them."""
    newer = codec.dumps({"destination": delivering.NAME, "read": 4, "delivered": 3, "held": 1})
    wanted = delivering.workspace("http://127.0.0.1:9/in")
    async with processing.kafka_log(processing.settings(kafka, topic_prefix)) as log:
        row = Record(newer, key=delivering.NAME.encode())
        await log.append([Entry(DESTINATION_TOTALS, 0, row)])
        with pytest.raises(SchemaMismatch, match="`held`"):
            await delivering.delivery_of(wanted, log).run(asyncio.Event())
