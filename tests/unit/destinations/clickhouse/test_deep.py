"""An event that nests too deeply, or that no row can be written of, costs itself and none of its neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from destinations.clickhouse import lots, writer
from destinations.clickhouse.columns import TYPED
from destinations.clickhouse.engine import ClickHouse
from destinations.clickhouse.lots import Sent, Table
from destinations.clickhouse.mapping import Row
from destinations.clickhouse.portions import Portion, Prepared, Preparer, change
from destinations.kit.books import all_totals
from destinations.kit.records import decode_dead, encode
from headwater import codec, limits
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Position, Record, TopicPartition
from tests.support.delivering import letters_of
from tests.unit.destinations.clickhouse.engines import Flaky
from tests.unit.destinations.clickhouse.loading import (
    GROUP,
    PROCESSED,
    base_rows,
    cells_of,
    entry,
    event,
    loaded,
    loading,
)

EVENTS = lots.events(columnar=True)
LIST, OBJECT = ("[", "]"), ('{"a":', "}")
KINDS = {"lists": [LIST], "objects": [OBJECT], "both": [LIST, OBJECT], "mixed": [('[1,"x",', "]")]}
BEYOND = (limits.ROW_DEPTH + 1, 300, 480, 985, 5_000)


def deep(
    message_id: str, levels: int, field: str = "properties", kind: str = "lists", leaf: str = "1"
) -> bytes:
    """The line of an event that has so many levels, all but the outermost in one of its fields."""
    chosen = [KINDS[kind][n % len(KINDS[kind])] for n in range(levels - 2)]
    value = "".join([left for left, _ in chosen]) + leaf + "".join([right for _, right in chosen[::-1]])
    line = event(message_id, **{field: {"p": "HERE"}}).decode()
    return line.replace('"HERE"', value).encode()


def prepared_of(lines: Sequence[bytes], table: Table = EVENTS, topic: str = topics.PROCESSED) -> Prepared:
    """A portion of one record of those lines, worked out."""
    record = Record(b"\n".join(lines), events=len(lines), offset=7)
    portion = Portion(TopicPartition(topic, 0), 7, 8, [record])
    return Preparer(table, lambda _: None, filtered=False).prepare(portion, 7)


def ids(prepared: Prepared) -> list[str]:
    """The messageIds of what is inserted."""
    return sorted(row.message_id for sent in prepared.sent for row in sent.rows)


@pytest.mark.parametrize("levels", BEYOND)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["properties", "traits", "context", "integrations", "unheardOf"])
def test_a_deep_event_is_a_dead_letter(levels: int, kind: str, field: str) -> None:
    """Wherever it is deep and however: it says so, and those beside it are loaded."""
    prepared = prepared_of([event("m1"), deep("m2", levels, field, kind), event("m3")])
    assert ids(prepared) == ["m1", "m3"]
    assert prepared.states == ["delivered", "dead", "delivered"]
    (letter,) = prepared.dead.values()
    assert (letter.code, letter.detail) == ("UNREADABLE_EVENT", "nested more than 128 levels deep")
    again = decode_dead(encode(letter))
    kept = codec.read(again.event)  # type: ignore[union-attr]
    assert (kept if isinstance(kept, str) else json.dumps(kept)).count("m2") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["properties", "traits", "context"])
@pytest.mark.parametrize("leaf", ["1", "9" * 30, "9" * 400, '"\\ud800"'])
def test_the_deepest_event_that_is_loaded_can_be_written_both_ways(kind: str, field: str, leaf: str) -> None:
    """The limit leaves room on the stack for decoders, flattening and encoders, the slow ones too."""
    prepared = prepared_of([deep("m1", limits.ROW_DEPTH, field, kind, leaf)])
    assert prepared.states == ["delivered"]
    (row,) = prepared.sent[0].rows
    assert writer.text([row]).data
    assert writer.encode([row])
    assert len(cells_of(row)) == len(TYPED)


@pytest.mark.parametrize("levels", [limits.ROW_DEPTH, *BEYOND])
@pytest.mark.parametrize("field", ["properties", "context", "unheardOf"])
def test_the_verdict_is_the_same_on_a_full_stack(levels: int, field: str) -> None:
    """What was inserted is not refused after a crash because the second look is taken from farther down."""

    def below(frames: int) -> list[str]:
        return below(frames - 1) if frames else prepared_of([deep("m", levels, field, "both")]).states

    assert below(0) == below(150) == below(300)


def test_side_topics_have_the_same_limit() -> None:
    """A dropped event or a person's traits that are too deep are letters of their topic."""
    dropped = b'{"reason":"x","event":' + deep("m1", 480) + b"}"
    fine = b'{"reason":"x","event":' + event("m2") + b"}"
    for topic, line in ((topics.DROPPED, dropped), (topics.PROFILES, deep("m1", 480, "traits"))):
        prepared = prepared_of([line], topic=topic)
        assert [letter.code for letter in prepared.dead.values()] == [f"UNREADABLE_{topic.upper()}"]
        assert not prepared.rows
    assert sum(len(rows) for rows in prepared_of([fine], topic=topics.DROPPED).rows.values()) == 1


Refuses = Callable[[Row], bool]


def table_that_fails(columns: Refuses, text: Refuses, error: type[BaseException] = KeyError) -> Table:
    """The event table with a defect in each way of encoding."""

    def refuse(rows: Sequence[Row], refuses: Refuses) -> None:
        if any(map(refuses, rows)):
            raise error("a defect")

    def by_columns(rows: Sequence[Row]) -> list[Sent]:
        refuse(rows, columns)
        return EVENTS.encode(rows)

    def plainly(rows: Sequence[Row]) -> Sent:
        refuse(rows, text)
        return EVENTS.plain(rows)

    return replace(EVENTS, encode=by_columns, plain=plainly)


def named(*message_ids: str) -> Refuses:
    """Whether a row is one of them."""
    return lambda row: row.message_id in message_ids


LINES = [event(f"m{n:02}") for n in range(20)]
IDS = [f"m{n:02}" for n in range(20)]


def test_a_row_that_fails_in_one_way_goes_the_other() -> None:
    """A defect of one encoder costs no event."""
    prepared = prepared_of(LINES, table_that_fails(named("m03", "m19"), named("m04")))
    assert ids(prepared) == IDS
    assert not prepared.dead
    formats = {row.message_id: sent.format for sent in prepared.sent for row in sent.rows}
    assert [name for name, fmt in formats.items() if fmt == "JSONEachRow"] == ["m03", "m19"]


def test_a_row_that_fails_in_both_ways_is_a_dead_letter() -> None:
    """It has its reason, its id and its place in the counts; the rows beside it are sent once each."""
    failing = named("m03", "m19")
    prepared = prepared_of(LINES, table_that_fails(failing, failing))
    assert ids(prepared) == [name for name in IDS if name not in ("m03", "m19")]
    assert {place.line: letter.code for place, letter in prepared.dead.items()} == {
        3: "MAPPING_FAILED",
        19: "MAPPING_FAILED",
    }
    assert sorted(prepared.ids.values()) == ["m03", "m19"]
    assert [n for n, state in enumerate(prepared.states) if state == "dead"] == [3, 19]
    counted = change(prepared, "warehouse")
    assert (counted.read, counted.delivered, counted.dead) == (20, 18, 2)


def test_rows_are_written_again_as_far_as_text_can() -> None:
    """After a failed insert a row that only columns can carry is sent as columns, and its neighbours as text."""
    (sent,) = prepared_of(LINES).sent
    found = lots.again(table_that_fails(named(), named("m05")), sent.rows)
    assert sorted(row.message_id for one in found for row in one.rows) == IDS
    assert [[r.message_id for r in one.rows] for one in found if one.format == "Native"] == [["m05"]]
    with pytest.raises(KeyError):
        lots.again(table_that_fails(named("m05"), named("m05")), sent.rows)


def test_short_memory_says_nothing_of_an_event() -> None:
    """What may pass the next time is no dead letter: the error goes on to the supervisor."""
    with pytest.raises(MemoryError):
        prepared_of(LINES, table_that_fails(named("m05"), named("m05"), MemoryError))


def test_a_defect_of_the_mapping_costs_its_own_event() -> None:
    """Whatever is raised while a line becomes a row, the lines behind it go on."""

    def select(event: dict[str, Any]) -> None:
        assert event["type"] != "page"

    record = Record(b"\n".join([event("m1"), event("m2", type="page"), event("m3")]), events=3, offset=0)
    portion = Portion(PROCESSED, 0, 1, [record])
    prepared = Preparer(EVENTS, select, filtered=False).prepare(portion, 7)
    assert ids(prepared) == ["m1", "m3"]
    assert [(one.code, one.detail) for one in prepared.dead.values()] == [
        ("MAPPING_FAILED", "AssertionError")
    ]


@pytest.fixture
def clean(engine: ClickHouse) -> ClickHouse:
    """The engine with an empty event table."""
    engine.command("TRUNCATE TABLE headwater.events")
    return engine


DEEP = [deep(f"deep{n}", levels, kind=kind) for n, kind in enumerate(KINDS) for levels in (300, 985)]
DEEPEST = [deep(f"fine{n}", limits.ROW_DEPTH, kind=kind) for n, kind in enumerate(KINDS)]
SHALLOW = [event(f"m{n}") for n in range(9)]
BESIDE = sorted([*(f"fine{n}" for n in range(len(KINDS))), *(f"m{n}" for n in range(9))])


async def _fates(log: MemoryLog) -> tuple[list[str], tuple[int, int, int, bool]]:
    letters = [decode_dead(encode(one.dead)) for one in await letters_of(log, "warehouse")]
    totals = (await all_totals(log))["warehouse"]
    counts = (totals.read, totals.delivered, totals.dead, totals.balances())
    return [getattr(one, "code", "") for one in letters], counts


@pytest.mark.engine
@pytest.mark.parametrize("columnar", [True, False])
@pytest.mark.parametrize("plan", [[], [("before", 27)], [("after", 319)]], ids=str)
async def test_neighbours_of_deep_events_are_loaded(
    clean: ClickHouse, plan: list[tuple[str, int]], columnar: bool
) -> None:
    """The engine gets everything but what is too deep, which is in the dead letters, also where inserts fail."""
    log = MemoryLog()
    await log.append([entry(*SHALLOW[:5], *DEEP, *DEEPEST), entry(*SHALLOW[5:])])
    async with loading(Flaky(clean, plan), log, columnar=columnar, merges=False):
        await loaded(log)
    assert base_rows(clean) == BESIDE
    codes, counts = await _fates(log)
    assert codes == ["UNREADABLE_EVENT"] * len(DEEP)
    assert counts == (len(BESIDE) + len(DEEP), len(BESIDE), len(DEEP), True)
    answers = clean.query("SELECT message_id, toJSONString(properties) FROM headwater.events")
    stored = {name: json.loads(value) for name, value in answers if name.startswith("fine")}
    assert stored == {f"fine{n}": json.loads(line)["properties"] for n, line in enumerate(DEEPEST)}


@pytest.mark.engine
@pytest.mark.parametrize("stored", [0, 7, len(BESIDE)])
async def test_a_restart_half_way_comes_to_the_same(clean: ClickHouse, stored: int) -> None:
    """A predecessor died with none, some or all rows of a stretch stored: each is there once, each letter is written once."""
    lines = [*SHALLOW, *DEEPEST]
    if stored:
        before = MemoryLog()
        await before.append([entry(*lines[:stored])])
        async with loading(clean, before, merges=False):
            await loaded(before)
    log = MemoryLog()
    await log.append([entry(*lines, *DEEP)])
    owner = await log.claim(GROUP, PROCESSED)
    intent = owner.begin()
    intent.advance(PROCESSED, Position(0, '{"to":1}'))
    await intent.commit()
    for _ in range(2):  # the second life finds nothing left to do
        async with loading(clean, log, merges=False):
            await loaded(log)
        assert base_rows(clean) == BESIDE
        codes, counts = await _fates(log)
        assert codes == ["UNREADABLE_EVENT"] * len(DEEP)
        assert counts == (len(BESIDE) + len(DEEP), len(BESIDE), len(DEEP), True)
