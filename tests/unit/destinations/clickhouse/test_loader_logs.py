"""The loader and a log, or tables, that are not what they were: made anew, replaced, trimmed, dropped."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw
from prometheus_client import REGISTRY

from destinations.clickhouse.anew import begin_anew, loaded_before
from destinations.clickhouse.engine import ClickHouse
from destinations.kit.books import all_totals
from destinations.kit.records import Totals, encode
from headwater import profile
from headwater.errors import LogUnavailable
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Owner, Position, TopicPartition
from tests.unit.destinations.clickhouse.engines import TIME_TEXT, clean
from tests.unit.destinations.clickhouse.loading import (
    GROUP,
    PROCESSED,
    base_rows,
    entry,
    event,
    loaded,
    loading,
    until,
)

__all__ = ["clean"]
pytestmark = pytest.mark.engine


class FullLog(MemoryLog):
    """A log that nothing can be written to while its disk is full."""

    full = True

    async def claim(self, group: str, tp: TopicPartition) -> Owner:
        """As the log's own, where there is room."""
        if self.full:
            raise LogUnavailable("the disk is full")
        return await super().claim(group, tp)


async def test_a_loader_that_waits_for_its_log_says_so(clean: ClickHouse) -> None:
    """`doctor` and `status` ask this: "running" while nothing can be loaded sends people to look elsewhere."""
    log = FullLog()
    await log.append([entry(event("e1"))])
    async with loading(clean, log) as loader:
        await until(lambda: loader.status() != {"destination": "warehouse", "state": "running"})
        assert loader.status() == {
            "destination": "warehouse",
            "state": "waiting",
            "reason": "the disk is full",
        }
        log.full = False
        await loaded(log)
        assert loader.status() == {"destination": "warehouse", "state": "running"}
    assert base_rows(clean) == ["e1"]


async def test_a_log_made_anew_is_loaded_beside_the_old_rows(clean: ClickHouse) -> None:
    """The same offsets with other events are other events, also for a repair."""
    old, new = MemoryLog(), MemoryLog()
    await old.append([entry(event("old1"), event("old2"))])
    async with loading(clean, old):
        await loaded(old)
    await new.append([entry(event("new1"), event("new2"))])
    owner = await new.claim(GROUP, PROCESSED)
    intent = owner.begin()
    intent.advance(PROCESSED, Position(0, '{"to":1}'))
    await intent.commit()
    async with loading(clean, new):
        await loaded(new)
    assert base_rows(clean) == ["new1", "new2", "old1", "old2"]


async def test_a_log_that_outgrew_the_position_of_another_is_loaded_whole(
    clean: ClickHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """The ids of the two logs differ: nothing of the new one is passed over, not even beside an intent of the old one."""
    logs = MemoryLog(), MemoryLog()
    for number, log in enumerate(logs):
        counts = json.dumps({"partition": 0, "log": f"log {number}"}).encode()
        await log.append([entry(counts, topic=topics.TOTALS, key=b"0")])
        await log.append([entry(event(f"{number}-{n}")) for n in range(2 + 3 * number)])
    old, new = logs
    async with loading(clean, old):
        await loaded(old)
    rows = (await old.read(TopicPartition(topics.DESTINATION_TOTALS, 0), 0)).records
    await new.append([Entry(topics.DESTINATION_TOTALS, 0, row) for row in rows])
    await new.store(GROUP, {PROCESSED: Position(2, '{"to":4}')})
    async with loading(clean, new):
        await loaded(new)
    assert base_rows(clean) == ["0-0", "0-1", *(f"1-{n}" for n in range(5))]
    assert caplog.text.count("is of another log than the one that was read") == 1
    assert (await all_totals(new))["warehouse"].logs == {"0": "log 1"}


async def test_retention_that_overtook_the_loader_is_loud_and_not_the_end(
    clean: ClickHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """What retention removed is reported; what is left is loaded."""
    log = MemoryLog()
    await log.append([entry(event("lost")), entry(event("kept"))])
    owner = await log.claim(GROUP, PROCESSED)
    start = owner.begin()
    start.advance(PROCESSED, Position(0))
    await start.commit()
    log.trim(PROCESSED, 1)
    labels = {"topic": topics.PROCESSED, "partition": "0"}
    before = REGISTRY.get_sample_value("headwater_lost_records_total", labels) or 0.0
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == ["kept"]
    assert "removed by retention" in caplog.text
    assert REGISTRY.get_sample_value("headwater_lost_records_total", labels) == before + 1


@pytest.mark.parametrize("note", ["", '{"to":120}'], ids=["settled", "intended"])
async def test_a_log_shorter_than_what_was_loaded_is_loud_and_loads_nothing_twice(
    clean: ClickHouse, caplog: pytest.LogCaptureFixture, note: str
) -> None:
    """An older copy of the log was put in its place: what it holds was loaded before, what comes now is loaded."""
    log = MemoryLog()
    await log.append([entry(event("before"))])
    await log.store(GROUP, {PROCESSED: Position(100, note)})
    async with loading(clean, log):
        await until(lambda: "replaced by an older copy" in caplog.text)
        await log.append([entry(event("now"))])
        await until(lambda: bool(base_rows(clean)))
    assert base_rows(clean) == ["now"]


async def test_a_repair_goes_no_farther_than_the_log(clean: ClickHouse) -> None:
    """An intent that reaches beyond a replaced log passes over nothing that is written there later."""
    log = MemoryLog()
    await log.append([entry(event("there"))])
    await log.store(GROUP, {PROCESSED: Position(0, '{"to":50}')})
    async with loading(clean, log):
        await loaded(log)
        assert await log.committed(GROUP, PROCESSED) == Position(1)
        await log.append([entry(event("later"))])
        await until(lambda: base_rows(clean) == ["later", "there"])


async def test_tables_that_vanished_are_loaded_again(
    clean: ClickHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """A deleted database is made anew with all that the log holds, people too; a dropped table is named, with what to do."""
    log = MemoryLog()
    person = profile.User("u1", {"email": (Raw(b'"a@b.test"'), 9)}, first_seen=1, last_seen=9)
    await log.append([entry(event("before"))])
    await log.append([entry(profile.encode(person), topic=topics.PROFILES, key=b"user:u1")])
    try:
        async with loading(clean, log, database="anew"):
            await loaded(log, (topics.PROCESSED, topics.PROFILES))
        people = clean.query("SELECT id FROM anew.users")
        assert people == [["u1"]]
        assert "new and empty" not in caplog.text
        clean.command("DROP DATABASE anew")
        await log.append([entry(event("after"))])
        async with loading(clean, log, database="anew"):
            await loaded(log, (topics.PROCESSED, topics.PROFILES))
        assert "new and empty" in caplog.text
        assert "(2 events;" in caplog.text
        assert base_rows(clean, "anew") == ["after", "before"]
        assert clean.query("SELECT id FROM anew.users") == people
        assert (await all_totals(log))["warehouse"].balances()
        clean.command("DROP TABLE anew.events SYNC")
        async with loading(clean, log, database="anew"):
            await until(lambda: "somebody dropped it" in caplog.text)
    finally:
        clean.command("DROP DATABASE anew")


async def test_a_kill_before_the_tables_are_made_anew_costs_nothing(clean: ClickHouse) -> None:
    """The positions are back at the beginning and the tables are not there yet: the next start loads everything once."""
    log = MemoryLog()
    await log.append([entry(event("m1")), entry(event("m2"))])
    try:
        async with loading(clean, log, database="anew"):
            await loaded(log)
        clean.command("DROP DATABASE anew")
        assert await loaded_before(log, "warehouse")
        await begin_anew(log, "warehouse", "anew", _still_new)
        assert not await loaded_before(log, "warehouse")
        async with loading(clean, log, database="anew"):
            await loaded(log)
        assert base_rows(clean, "anew") == ["m1", "m2"]
    finally:
        clean.command("DROP DATABASE anew")


async def _still_new() -> bool:
    return True


async def test_tables_that_another_process_has_just_made_are_not_loaded_twice(clean: ClickHouse) -> None:
    """It found them missing like us, made them and loaded; we look again after our claim and leave its position alone."""
    log = MemoryLog()
    await log.append([entry(event("m1")), entry(event("m2"))])
    async with loading(clean, log):
        await loaded(log)
    position = await log.committed(GROUP, PROCESSED)

    async def made_meanwhile() -> bool:
        return False

    await begin_anew(log, "warehouse", "headwater", made_meanwhile)
    assert await log.committed(GROUP, PROCESSED) == position
    async with loading(clean, log):
        await log.append([entry(event("m3"))])
        await loaded(log)
    assert base_rows(clean) == ["m1", "m2", "m3"]


def _dropped(message_id: str) -> bytes:
    """The line of a dropped event."""
    inner = {"messageId": message_id, "sourceId": "web", "type": "track", "receivedAt": TIME_TEXT}
    line = {
        "reason": "duplicate",
        "processor": "dedupe",
        "detail": "",
        "droppedAt": TIME_TEXT,
        "event": inner,
    }
    return json.dumps(line).encode()


async def test_a_log_that_goes_on_from_another_one_has_places_of_its_own(clean: ClickHouse) -> None:
    """Its offsets begin at 0 again; what is newer stays newer, and a repair takes no row of the old log for its own."""
    old, new = MemoryLog(), MemoryLog()
    for number in range(3):
        user = profile.User("u1", {"plan": (Raw(b'"old"'), number)}, first_seen=1, last_seen=9)
        await old.append([entry(profile.encode(user), topic=topics.PROFILES, key=b"user:u1")])
        await old.append([entry(_dropped(f"old{number}"), topic=topics.DROPPED), entry(event(f"e{number}"))])
    async with loading(clean, old):
        await loaded(old, (topics.PROCESSED, topics.PROFILES, topics.DROPPED))
    kept = Totals(destination="warehouse", read=3, delivered=3, before=3)
    await new.append([entry(encode(kept), topic=topics.DESTINATION_TOTALS, key=b"warehouse")])
    user = profile.User("u1", {"plan": (Raw(b'"new"'), 9)}, first_seen=1, last_seen=9)
    await new.append([entry(profile.encode(user), topic=topics.PROFILES, key=b"user:u1")])
    await new.append([entry(_dropped("new0"), topic=topics.DROPPED), entry(event("e9"))])
    for topic in (
        topics.DROPPED,
        topics.PROCESSED,
    ):  # as a loader that was killed before its insert leaves it
        owner = await new.claim(GROUP, tp := TopicPartition(topic, 0))
        transaction = owner.begin()
        transaction.advance(tp, Position(0, '{"to": 1}'))
        await transaction.commit()
    async with loading(clean, new):
        await loaded(new, (topics.PROCESSED, topics.PROFILES, topics.DROPPED))
    assert base_rows(clean) == ["e0", "e1", "e2", "e9"]
    assert clean.query(
        "SELECT message_id, log_offset FROM headwater.dropped_events WHERE message_id = 'new0'"
    ) == [["new0", 3]]
    assert clean.query("SELECT toString(traits.plan) FROM headwater.user_profiles FINAL WHERE id = 'u1'") == [
        ["new"]
    ]
    books = (await all_totals(new))["warehouse"]
    assert (books.read, books.delivered, books.before) == (4, 4, 3)
