"""The columnar writer stores the same as the text writer, value by value, in the real engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from destinations.clickhouse import writer
from destinations.clickhouse.columns import CONTEXT, TYPED
from destinations.clickhouse.engine import ClickHouse
from destinations.clickhouse.mapping import Mapper, Place, Row

pytestmark = pytest.mark.engine

SCALAR = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["2024-01-01", "2024-01-01T00:00:00Z", "19.00", "true", "null", "", "\x00", "é", "😀"])
)
KEY = st.text(max_size=4) | st.sampled_from(["a", "b", "total", "plan", "a.b", "", "%2E", "`", "'"])
# Of a mixed column of arrays the text parser makes floats; columns keep the digits. So: numbers that floats hold.
ELEMENT = SCALAR.filter(lambda value: type(value) is not int or abs(value) <= 2**53)
VALUE = st.recursive(
    SCALAR | st.none() | st.integers(),
    lambda inner: st.lists(ELEMENT | st.none(), max_size=3) | st.dictionaries(KEY, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(KEY, VALUE, max_size=5)
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "page", "identify", "group"]), "properties": OBJECT},
    optional={
        "traits": OBJECT,
        "event": st.text(max_size=5),
        "userId": st.text(max_size=5),
        "anonymousId": st.text(max_size=5),
        "flags": st.lists(st.text(max_size=4), max_size=2),
        "context": st.fixed_dictionaries(
            {},
            optional={column.path[0]: VALUE for column in CONTEXT if len(column.path) == 1}
            | {"page": OBJECT},
        ),
    },
)
EVERYTHING = (
    "SELECT * EXCEPT (properties, traits), toJSONString(properties), toJSONString(traits), "
    "JSONAllPathsWithTypes(properties), JSONAllPathsWithTypes(traits) FROM headwater.{} ORDER BY log_offset, message_id"
)


@pytest.fixture(scope="module")
def tables(engine: ClickHouse) -> ClickHouse:
    """Two copies of the event table, one for each writer."""
    for name in ("by_text", "by_columns"):
        engine.command(
            f"CREATE TABLE headwater.{name} AS headwater.events ENGINE = MergeTree ORDER BY log_offset"
        )
    return engine


def rows(events: list[dict[str, Any]]) -> list[Row]:
    """Rows of events that lack the fields which every event has."""
    mapper = Mapper()
    common = {
        "sourceId": "web",
        "receivedAt": "2024-01-01T00:00:00.001Z",
        "timestamp": "2024-01-01T00:00:00.002Z",
    }
    lines = [json.dumps({**common, "messageId": f"m{n}", **event}).encode() for n, event in enumerate(events)]
    return [mapper.row(line, Place(0, number, 0), 5) for number, line in enumerate(lines)]


def kinds(found: list[list[Any]]) -> list[list[Any]]:
    """Rows with every array type as `Array`: the text parser lets the neighbours in a block decide about elements."""
    for row in found:
        for types in row[-2:]:
            types.update({path: "Array" for path, kind in types.items() if kind.startswith("Array")})
    return found


def stored(engine: ClickHouse, table: str, payloads: list[writer.Payload]) -> list[list[Any]]:
    """What the engine holds after inserting the payloads."""
    engine.command(f"TRUNCATE TABLE headwater.{table}")
    for payload in payloads:
        engine.insert_block(
            f"headwater.{table}", writer.EVENT_COLUMNS, payload.data, payload.format, writer.TEXT_SETTINGS
        )
    return engine.query(EVERYTHING.format(table))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=st.lists(EVENT, min_size=1, max_size=12))
@example(
    events=[
        {"type": "track", "properties": p}
        for p in ({"a": 1}, {"a": 1.5}, {"a": "x"}, {"a": [1]}, {"a": True}, {})
    ]
)
@example(
    events=[
        {"type": "track", "properties": p}
        for p in ({"a": 2**63}, {"a": -(2**63) - 1}, {"a": 10**30}, {"a": 7})
    ]
)
@example(
    events=[
        {"type": "track", "properties": p} for p in ({"a.b": 1}, {"a": {"b": 1}}, {"a.b": 1, "a": {"b": 2}})
    ]
)
@example(
    events=[{"type": "track", "properties": {"a": [None, "x"], "b": [], "c": [1, "x"], "d": [{"e": 1}]}}]
)
@example(
    events=[
        {"type": "track", "properties": {f"k{n}": n for n in range(900)}},
        {"type": "track", "properties": {"a": 1}},
    ]
)
def test_columns_equal_text(tables: ClickHouse, events: list[dict[str, Any]]) -> None:
    """Both writers leave the same values of the same types, for any events."""
    made = rows(events)
    by_columns = stored(tables, "by_columns", writer.encode(made))
    assert kinds(by_columns) == kinds(stored(tables, "by_text", [writer.text(made)]))


def test_simple_events_go_as_columns(tables: ClickHouse) -> None:
    """The common case really takes the columnar way, and nothing is sent twice or forgotten."""
    made = rows([{"type": "track", "properties": {"a": n, "b": str(n), "c": {"d": [n]}}} for n in range(50)])
    hard = rows([{"type": "track", "properties": {"products": [{"sku": "a"}]}}])
    payloads = writer.encode([*made, *hard])
    assert [(payload.format, len(payload.rows)) for payload in payloads] == [
        ("Native", 50),
        ("JSONEachRow", 1),
    ]
    assert len(stored(tables, "by_columns", payloads)) == 51


def test_values_come_back_as_they_were(tables: ClickHouse) -> None:
    """Strings that look like dates or numbers stay strings, integers keep every digit."""
    value = {"date": "2024-01-01", "zip": "01234", "big": 2**63 - 1, "unsigned": 2**64 - 1, "nul": "a\x00b"}
    for payloads in (
        writer.encode(rows([{"properties": value}])),
        [writer.text(rows([{"properties": value}]))],
    ):
        answer = stored(tables, "by_columns", payloads)
        assert json.loads(answer[0][-4]) == value


def test_rare_shapes_are_bounded(tables: ClickHouse) -> None:
    """A thousand different shapes in a batch do not make a block of a thousand columns."""
    made = rows([{"type": "track", "properties": {f"only{n}": n}} for n in range(1000)])
    payloads = writer.encode(made)
    assert sum(len(payload.rows) for payload in payloads) == 1000
    assert len(payloads[0].rows) <= writer.MAX_SHAPES
    assert len(stored(tables, "by_columns", payloads)) == 1000


@pytest.mark.parametrize("different", [1, 2, 254, 255, 256, 257, 70_000])
def test_labels_are_numbered_whatever_their_number(tables: ClickHouse, different: int) -> None:
    """Null, empty and many values of a label come back as they were, and so do those of text that repeats itself."""
    count = max(different + 2, 300)
    labels = [None, "", *(f"é{n}" for n in range(different))]
    given = [labels[n % len(labels)] for n in range(count)]
    made = rows([{"type": "page", "context": {"os": {"name": x}, "userAgent": x}} for x in given])
    (payload,) = writer.encode(made)
    found = stored(tables, "by_columns", [payload])
    names = [column.name for column in TYPED]
    for name in ("context_os_name", "context_user_agent"):
        at = names.index(name)
        assert [row[at] for row in found] == given


def test_columns_of_defaults_are_not_sent(tables: ClickHouse) -> None:
    """What nothing is said of costs nothing, and is the same as if it had been sent."""
    made = rows([{"type": "page", "context": {}}] * 3)
    (payload,) = writer.encode(made)
    for name in (
        b"context_device_id",
        b"context_bot_score",
        b"flags",
        b"event_text",
        b"sent_at",
        b"properties",
    ):
        assert name not in payload.data
    by_columns = stored(tables, "by_columns", [payload])
    assert by_columns == stored(tables, "by_text", [writer.text(made)])


def test_what_is_left_out_is_blank_whatever_default_a_column_was_given(tables: ClickHouse) -> None:
    """An operator's default is for rows of their own; it would otherwise depend on the neighbours in a block."""
    column = "MODIFY COLUMN channel LowCardinality(String)"
    made = rows([{"type": "page", "context": {}}] * 2)
    for name in ("by_columns", "by_text"):
        tables.command(f"ALTER TABLE headwater.{name} {column} DEFAULT 'server'")
    try:
        by_columns = stored(tables, "by_columns", writer.encode(made))
        assert by_columns == stored(tables, "by_text", [writer.text(made)])
        assert tables.query("SELECT DISTINCT channel FROM headwater.by_columns") == [[""]]
    finally:
        for name in ("by_columns", "by_text"):
            tables.command(f"ALTER TABLE headwater.{name} MODIFY COLUMN channel REMOVE DEFAULT")
