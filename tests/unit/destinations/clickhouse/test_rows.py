"""Rows are encoded in chunks and made again where an insert fails: every one arrives with its own values."""

from __future__ import annotations

import json

import pytest

from destinations.clickhouse import rows
from destinations.clickhouse.engine import ClickHouse
from destinations.clickhouse.lots import MAX_MONTHS, Sent, events
from destinations.clickhouse.mapping import Mapper, Place
from destinations.clickhouse.portions import CHUNK_ROWS, Portion, Preparer, lots
from headwater.log import topics
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Record, TopicPartition
from tests.unit.destinations.clickhouse.engines import Flaky
from tests.unit.destinations.clickhouse.loading import base_rows, cells_of, entry, event, loaded, loading

SEVERAL_CHUNKS = 2 * CHUNK_ROWS + 100


def lines(count: int) -> list[bytes]:
    """Events whose properties have another pattern in each chunk, some of which only text can carry."""
    return [
        event(
            f"m{n}",
            properties={
                f"p{n // 700}": n,
                "who": {"id": str(n)},
                **({"l": [{"x": n}]} if n % 50 == 0 else {}),
            },
        )
        for n in range(count)
    ]


def records(given: list[bytes]) -> list[Record]:
    """Records of a hundred lines, as they stand in the log."""
    return [
        Record(b"\n".join(given[at : at + 100]), events=100, offset=at // 100)
        for at in range(0, len(given), 100)
    ]


@pytest.mark.engine
@pytest.mark.parametrize("plan", [[], [("after", 319)], [("before", 241)]], ids=str)
async def test_a_flush_of_several_chunks_is_stored_once(
    engine: ClickHouse, plan: list[tuple[str, int]]
) -> None:
    """Every event of a flush that is encoded in pieces is there with its own properties, whatever failed."""
    engine.command("TRUNCATE TABLE IF EXISTS headwater.events")
    log, given = MemoryLog(), lines(SEVERAL_CHUNKS)
    await log.append([entry(*given[at : at + 100]) for at in range(0, len(given), 100)])
    async with loading(Flaky(engine, plan), log):
        await loaded(log)
    assert base_rows(engine) == sorted(f"m{n}" for n in range(SEVERAL_CHUNKS))
    found = engine.query("SELECT message_id, toJSONString(properties) FROM headwater.events")
    for message_id, properties in found:
        number = int(message_id[1:])
        value = json.loads(properties)
        assert str(value[f"p{number // 700}"]) == value["who"]["id"] == str(number)
        assert ("l" in value) == (number % 50 == 0)


def test_rows_are_made_again_as_they_were() -> None:
    """A look at the rows of an encoded portion gives the rows that were encoded, each once."""
    given = lines(250)
    portion = Portion(TopicPartition(topics.PROCESSED, 0), 0, 3, records(given))
    table = events(columnar=True)
    prepared = Preparer(table, lambda _: None, filtered=False).prepare(portion, 7)
    (lot,) = lots([prepared], table)
    expected = {
        Place(0, n // 100, n % 100): cells_of(Mapper().row(line, Place(0, n // 100, n % 100), 7))
        for n, line in enumerate(given)
    }
    assert {row.place: cells_of(row) for row in lot.rows} == expected
    assert len(lot.rows) == sum(len(sent.rows) for sent in lot.inserts()) == 250


def test_no_insert_touches_too_many_months() -> None:
    """Chunks of one format are joined until their months are as many as an insert may touch."""
    source = rows.Source([], [], 0)
    parts = [Sent("Native", bytes([n]), rows.Rows([source]), frozenset([n])) for n in range(70)]
    joined = rows.joined(parts)
    assert b"".join(sent.data for sent in joined) == bytes(range(70))
    assert max(len(sent.months) for sent in joined) <= MAX_MONTHS // 2
    assert len(joined) == 3


def test_text_and_blocks_are_not_mixed() -> None:
    """Rows that only text can carry are inserted as text, lines apart."""
    source = rows.Source([], [], 0)
    parts = [
        Sent(fmt, data, rows.Rows([source]), frozenset([1]))
        for fmt, data in (("Native", b"a"), ("JSONEachRow", b"{}"), ("Native", b"b"), ("JSONEachRow", b"[]"))
    ]
    assert [(sent.format, sent.data) for sent in rows.joined(parts)] == [
        ("Native", b"ab"),
        ("JSONEachRow", b"{}\n[]"),
    ]
