"""The loader: every event once in the base table, counted, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec import Raw
from prometheus_client import REGISTRY

from destinations.clickhouse.anew import begin_anew, loaded_before
from destinations.clickhouse.engine import ClickHouse, Client, EngineError
from destinations.kit import dlq
from destinations.kit.books import Books, all_totals
from destinations.kit.records import Dead, Totals, decode_dead, encode
from headwater import profile
from headwater.clock import SystemClock
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Entry, Position, TopicPartition
from tests.support.delivering import letters_of
from tests.unit.destinations.clickhouse.loading import (
    GROUP,
    PROCESSED,
    base_rows,
    entry,
    event,
    loaded,
    loading,
    until,
    workspace,
)

pytestmark = pytest.mark.engine
Table = str


class Flaky:
    """An engine whose inserts into `events` fail as planned: before or after the rows are stored."""

    embedded = True

    def __init__(self, engine: ClickHouse, plan: Sequence[tuple[str, int]] = (), refuse: bytes = b"") -> None:
        self._engine, self._plan, self._refuse = engine, list(plan), refuse
        self.inserts = 0

    def insert_block(
        self, table: Table, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
    ) -> None:
        """Insert, or fail."""
        if not table.endswith("`events`"):
            self._engine.insert_block(table, columns, data, fmt, settings)
            return
        self.inserts += 1
        if self._refuse and self._refuse in data:
            raise EngineError("Code: 27. DB::Exception: Cannot parse input", 27)
        when, code = self._plan.pop(0) if self._plan else ("", 0)
        if when == "before":
            raise EngineError(f"Code: {code}. DB::Exception: planned", code)
        if when == "half":
            lines = data.split(b"\n")
            data = b"\n".join(lines[: len(lines) // 2])
        self._engine.insert_block(table, columns, data, fmt, settings)
        if when:
            raise EngineError(f"Code: {code}. DB::Exception: planned", code)

    def command(self, sql: str) -> None:
        """As the engine."""
        self._engine.command(sql)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """As the engine."""
        return self._engine.query(sql, parameters)

    def readonly_client(self, settings: Mapping[str, str] | None = None) -> Client:
        """As the engine."""
        return self._engine.readonly_client(settings)

    def close(self) -> None:
        """The test's fixture closes the engine."""


@pytest.fixture
def clean(engine: ClickHouse) -> ClickHouse:
    """The engine with empty tables."""
    for (name,) in engine.query(
        "SELECT name FROM system.tables WHERE database = 'headwater' AND engine LIKE '%MergeTree' AND name != 'schema_migrations'"
    ):
        engine.command(f"TRUNCATE TABLE headwater.{name}")
    return engine


async def test_every_event_is_loaded_once_and_counted(clean: ClickHouse) -> None:
    """Several partitions, records of several events, and books that balance."""
    log = MemoryLog(partitions=2)
    ids = [f"m{n}" for n in range(40)]
    await log.append([entry(*(event(i) for i in ids[n : n + 4]), partition=n % 2) for n in range(0, 40, 4)])
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == sorted(ids)
    totals = (await all_totals(log))["warehouse"]
    assert (totals.read, totals.delivered, totals.balances()) == (40, 40, True)


async def test_what_arrives_later_is_loaded_soon(clean: ClickHouse) -> None:
    """An event sent while the loader runs can be queried."""
    log = MemoryLog()
    async with loading(clean, log):
        await log.append([entry(event("first"))])
        await loaded(log)
        await log.append([entry(event("second"))])
        await until(lambda: base_rows(clean) == ["first", "second"])


@pytest.mark.parametrize(
    "plan",
    [
        [("before", 242)],
        [("after", 319)],
        [("half", 999)],
        [("before", 0), ("half", 210), ("after", 159)],
        [("before", 241), ("before", 241)],
        [("before", 252), ("after", 252), ("half", 252)],
        [("before", 252), ("half", 27), ("after", 27)],
    ],
    ids=str,
)
async def test_failing_inserts_leave_each_row_once(clean: ClickHouse, plan: list[tuple[str, int]]) -> None:
    """Whether rows were stored before the failure or not, the table holds each of them once, before any merge."""
    log = MemoryLog()
    ids = [f"m{n}" for n in range(11)]
    await log.append([entry(*(event(i) for i in ids))])
    async with loading(Flaky(clean, plan), log, columnar=False, merges=False):
        await loaded(log)
    assert base_rows(clean) == sorted(ids)


class Late(Flaky):
    """A server that goes on with the first insert after its client gave up waiting."""

    embedded = False

    def __init__(self, engine: ClickHouse) -> None:
        super().__init__(engine)
        self.running: threading.Thread | None = None

    def insert_block(
        self, table: Table, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
    ) -> None:
        """The first insert of events lands half a second after the client has been told nothing."""
        if self.running is not None or not table.endswith("`events`"):
            return self._engine.insert_block(table, columns, data, fmt, settings)

        def land() -> None:
            time.sleep(0.5)
            self._engine.insert_block(table, columns, data, fmt, settings)

        self.running = threading.Thread(target=land)
        self.running.start()
        raise EngineError("TimeoutError: timed out", 0)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """As the engine, and the server's list of what runs."""
        if "system.processes" not in sql:
            return super().query(sql, parameters)
        assert self._engine.query(sql) == [[0]] or self._engine.query(sql) == [["0"]], (
            "the engine understands it"
        )
        return [[int(self.running is not None and self.running.is_alive())]]


async def test_an_insert_that_lands_after_its_timeout_is_waited_for(clean: ClickHouse) -> None:
    """A slow server stores rows whose client gave up: they are not inserted a second time."""
    log, server = MemoryLog(), Late(clean)
    await log.append([entry(*(event(f"m{n}") for n in range(5)))])
    async with loading(server, log, merges=False):
        await loaded(log)
        assert server.running is not None
        server.running.join()
    assert base_rows(clean) == [f"m{n}" for n in range(5)]


async def test_a_refused_row_costs_no_neighbour(clean: ClickHouse) -> None:
    """The engine refuses one row: it goes to the dead letters with the reason, the others are loaded."""
    log = MemoryLog()
    await log.append(
        [entry(*(event(f"m{n}", properties={"x": "poison"} if n == 5 else {}) for n in range(9)))]
    )
    async with loading(Flaky(clean, refuse=b"poison"), log):
        await loaded(log)
    assert base_rows(clean) == sorted(f"m{n}" for n in range(9) if n != 5)
    letters = [
        decode_dead(r.value or b"") for r in (await log.read(TopicPartition("dead.warehouse", 0), 0)).records
    ]
    assert [
        (one.code, json.loads(bytes(one.event))["messageId"]) for one in letters if isinstance(one, Dead)
    ] == [("CLICKHOUSE_27", "m5")]
    totals = (await all_totals(log))["warehouse"]
    assert (totals.read, totals.delivered, totals.dead) == (9, 8, 1)


async def test_a_line_that_is_no_event_is_a_dead_letter(clean: ClickHouse) -> None:
    """Nothing blocks, nothing is lost."""
    log = MemoryLog()
    await log.append([entry(event("m1"), b"[1]", b"\xff nonsense", event("m2"))])
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == ["m1", "m2"]
    assert (await all_totals(log))["warehouse"].dead == 2


@pytest.mark.parametrize("stored", [0, 3, 8])
async def test_an_open_intent_is_completed_exactly(clean: ClickHouse, stored: int) -> None:
    """The predecessor died after writing down its intent, with none, some or all rows stored."""
    log = MemoryLog()
    lines = [event(f"m{n}") for n in range(8)]
    await log.append([entry(*lines)])
    if stored:
        helper = MemoryLog()
        await helper.append([entry(*lines[:stored])])
        async with loading(clean, helper):
            await loaded(helper)
    await log.append([entry(event("later"))])
    owner = await log.claim(GROUP, PROCESSED)
    intent = owner.begin()
    intent.advance(PROCESSED, Position(0, '{"to":1}'))
    await intent.commit()
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == sorted([*(f"m{n}" for n in range(8)), "later"])
    assert (await all_totals(log))["warehouse"].delivered == 9


async def test_a_token_noted_for_lost_rows_does_not_lose_them(clean: ClickHouse) -> None:
    """After a kill the engine may remember a token whose part never arrived; the table is asked, not the token."""
    log = MemoryLog()
    await log.append([entry(event("m1"))])

    class Forgetful(Flaky):
        def insert_block(
            self, table: Table, columns: Sequence[str], data: bytes, fmt: str, settings: Mapping[str, str]
        ) -> None:
            super().insert_block(table, columns, data, fmt, settings)
            if table.endswith("`events`") and self.inserts == 1:
                self.command(
                    "ALTER TABLE headwater.events DROP PARTITION ID '202401'"
                )  # the rows vanish, the token stays
                raise EngineError("killed", 0)

    async with loading(Forgetful(clean), log):
        await loaded(log)
    assert base_rows(clean) == ["m1"]


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


@pytest.mark.parametrize("operation", ["transaction", "commit"])
@pytest.mark.parametrize("written", [False, True])
async def test_a_failing_log_loses_and_doubles_nothing(
    clean: ClickHouse, operation: Any, written: bool
) -> None:
    """Intents and commits that fail, or whose answer is lost, end in the same rows."""
    log = MemoryLog()
    log.faults.fail(operation, times=2, written=written)
    await log.append([entry(event("m1"), event("m2"))])
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == ["m1", "m2"]


async def test_history_of_many_years_fits_one_flush(clean: ClickHouse) -> None:
    """A batch of two hundred months is split by partition; the engine would refuse it whole."""
    log = MemoryLog()
    lines = [
        event(f"m{y}-{m}", timestamp=f"{y}-{m:02d}-15T00:00:00.000Z")
        for y in range(2005, 2022)
        for m in range(1, 13)
    ]
    await log.append([entry(*lines)])
    async with loading(clean, log):
        await loaded(log)
    assert len(base_rows(clean)) == len(lines)


WANTED: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"All": False}, True),
    ({"Warehouses": {"all": False}}, False),
    ({"Warehouses": {"warehouseIds": ["warehouse"]}}, True),
    ({"Warehouses": {"warehouseIds": ["other"]}}, False),
    ({"ClickHouse": False}, False),
]


async def test_integrations_are_read_as_warehouses_do(clean: ClickHouse) -> None:
    """All:false does not keep events from a warehouse; the Warehouses object does."""
    log = MemoryLog()
    await log.append([entry(*(event(f"m{n}", integrations=value) for n, (value, _) in enumerate(WANTED)))])
    async with loading(clean, log):
        await loaded(log)
    assert base_rows(clean) == [f"m{n}" for n, (_, wanted) in enumerate(WANTED) if wanted]
    assert (await all_totals(log))["warehouse"].filtered == {"FILTERED_BY_INTEGRATIONS_OBJECT": 3}


async def test_filter_and_unconnected_sources_are_counted(clean: ClickHouse) -> None:
    """What the workspace leaves out has its reason."""
    log = MemoryLog()
    await log.append([entry(event("m1"), event("m2", event="Other"), event("m3", sourceId="gone"))])
    async with loading(clean, log, workspace(filter='event = "Order Completed"')):
        await loaded(log)
    assert base_rows(clean) == ["m1"]
    assert (await all_totals(log))["warehouse"].filtered == {
        "FILTERED_BY_RULES": 1,
        "SOURCE_NOT_CONNECTED": 1,
    }


def _profiles() -> list[tuple[str, bytes | None]]:
    cause = profile.Cause("m1", "identify", 5)
    rows: list[profile.Row] = [
        profile.User(
            "u1", {"email": (Raw(b'"a@b.test"'), 5), "gone": (Raw(b"null"), 5)}, first_seen=1, last_seen=5
        ),
        profile.Account("g1", {"name": (Raw(b'"Acme"'), 5)}, first_seen=1, last_seen=5),
        profile.Membership("g1", "u1", joined_at=5, confirmed_at=5, cause=cause),
        profile.Identity("a1", "u1", 5, cause),
        profile.Identity("a2", None),
    ]
    return [(profile.key_of(row), profile.encode(row)) for row in rows]


async def test_profiles_drops_and_deliveries_have_their_tables(clean: ClickHouse) -> None:
    """People, accounts, memberships, identities, drops and deliveries can be queried, newest state only."""
    log = MemoryLog()
    dropped = json.dumps(
        {
            "reason": "duplicate",
            "processor": "dedupe",
            "droppedAt": TIME_TEXT,
            "event": json.loads(event("d1")),
        }
    )
    await log.append(
        [entry(value or b"", topic=topics.PROFILES, key=key.encode()) for key, value in _profiles()]
    )
    newer = profile.User("u1", {"email": (Raw(b'"new@b.test"'), 9)}, first_seen=1, last_seen=9)
    await log.append([entry(profile.encode(newer), topic=topics.PROFILES, key=b"user:u1")])
    await log.append([entry(dropped.encode(), topic=topics.DROPPED), entry(event("m1"))])
    async with loading(clean, log) as loader:
        await until(lambda: len(clean.query("SELECT * FROM headwater.deliveries")) == 1)
        await until(
            lambda: (
                not loader.views.dirty
                and bool(
                    clean.query(
                        "SELECT 1 FROM system.columns WHERE database = 'headwater' AND table = 'users' AND name = 'email'"
                    )
                )
            )
        )
    assert clean.query("SELECT id, email FROM headwater.users") == [["u1", "new@b.test"]]
    assert clean.query("SELECT id, name FROM headwater.accounts") == [["g1", "Acme"]]
    assert clean.query("SELECT group_id, user_id, removed_at FROM headwater.memberships") == [
        ["g1", "u1", None]
    ]
    assert clean.query("SELECT anonymous_id, user_id FROM headwater.identities") == [["a1", "u1"]]
    assert clean.query("SELECT id, reason, event_text FROM headwater.dropped") == [
        ["d1", "duplicate", "Order Completed"]
    ]
    assert clean.query("SELECT destination, outcome, events FROM headwater.deliveries") == [
        ["warehouse", "delivered", 1]
    ]


async def test_loading_its_own_deliveries_comes_to_rest(clean: ClickHouse) -> None:
    """A delivery record is loaded, which makes no further delivery record."""
    log = MemoryLog()
    await log.append([entry(event("m1"))])
    async with loading(clean, log):
        await loaded(log, (topics.PROCESSED, topics.DELIVERIES))
        await log.wait([topics.DELIVERIES], 0.3)
        assert (await log.bounds(TopicPartition(topics.DELIVERIES, 0))).end <= 2


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


TIME_TEXT = "2024-01-01T00:00:00.000Z"


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


async def test_a_dead_letter_of_a_side_topic_is_counted_like_any_other(clean: ClickHouse) -> None:
    """What is listed as dead is in the counts, so that discarding it brings them to zero, not below."""
    log = MemoryLog()
    await log.append([entry(b"no json", topic=topics.DROPPED)])
    async with loading(clean, log):
        async with asyncio.timeout(20):
            while not (await letters_of(log, "warehouse")):
                await log.wait([topics.DESTINATION_TOTALS], 0.05)
        await dlq.discard(log, Books.of(log, "warehouse"), SystemClock())
    totals = (await all_totals(log))["warehouse"]
    assert (totals.dead, totals.discarded, totals.balances()) == (0, 1, True)


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
