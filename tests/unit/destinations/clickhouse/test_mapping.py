"""The mapping of events to rows: golden cases, and totality over whatever JSON can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from destinations.clickhouse import values, writer
from destinations.clickhouse.columns import TYPED
from destinations.clickhouse.mapping import Mapper, Place, moment
from headwater import timestamps
from headwater.event import EVENT_TYPES
from tests.unit.destinations.clickhouse.loading import cells_of

GOLDEN = sorted((Path(__file__).parents[3] / "golden/clickhouse").glob("*.yaml"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "type", "messageId", "sourceId", "receivedAt", "timestamp", "channel", "originalTimestamp", "sentAt", "anonymousId",
    "userId", "groupId", "previousId", "event", "name", "category", "properties", "traits", "context", "flags", "extra",
]  # fmt: skip


def cells(line: bytes) -> dict[str, Any]:
    """The row of a line by column name."""
    row = Mapper().row(line, Place(2, 7, 1), 1_704_067_200_000)
    found = dict(zip((column.name for column in TYPED), cells_of(row), strict=True))
    return {**found, "properties": row.properties.value, "traits": row.traits.value}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    """Each case shows an event and the cells that are not null."""
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    row = cells(json.dumps(case["event"]).encode())
    for column in TYPED:
        if column.kind in ("time", "ntime") and row[column.name] is not None:
            row[column.name] = timestamps.iso(row[column.name])
    row["context"] = json.loads(row["context"])
    shown = {name: value for name, value in row.items() if value not in (None, "", [], {})}
    assert shown == case["row"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_object_has_a_row(event: dict[str, Any]) -> None:
    """Whatever the fields hold, there is a row that both writers can encode."""
    row = Mapper().row(json.dumps(event).encode(), Place(0, 0, 0), 0)
    assert len(cells_of(row)) == len(TYPED)
    assert len(writer.text([row]).data.splitlines()) == 1
    assert sum(len(payload.rows) for payload in writer.encode([row])) == 1


@pytest.mark.parametrize(
    "line", [b'{"type":"track","event":"\\ud800"}', b'{"properties":{"x":1e999}}', b'{"context":5}']
)
def test_broken_values_are_mended(line: bytes) -> None:
    """Lone surrogates, numbers beyond any float and a context that is no object cost nothing else."""
    row = Mapper().row(line, Place(0, 0, 0), 0)
    json.loads(writer.text([row]).data)


@pytest.mark.parametrize("line", [b"[]", b"nonsense", b"5", b'{"a":' * 3000 + b"1" + b"}" * 3000])
def test_what_is_no_event_says_so(line: bytes) -> None:
    """A line that is no object cannot be a row."""
    with pytest.raises(ValueError, match=r"JSON|object|Expecting"):
        Mapper().row(line, Place(0, 0, 0), 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0001-01-01T00:00:00Z", timestamps.MIN_MS),
        ("0001-01-01T00:00:00.000Z", timestamps.MIN_MS),
        ("9999-12-31T23:59:59.999Z", timestamps.MAX_MS),
        ("9999-12-31T00:00:00Z", timestamps.MAX_MS),
        ("+12345-01-01T00:00:00Z", timestamps.MAX_MS),
        ("2024-01-01T00:00:00.123Z", 1_704_067_200_123),
        ("soon", None),
        (None, None),
    ],
)
def test_years_are_kept_within_the_engines_range(text: str | None, expected: int | None) -> None:
    """A garbage year becomes the nearest one that the engine holds."""
    assert moment(text) == expected


def test_names_of_other_calls_are_no_events() -> None:
    """Only track calls have an event."""
    for kind in EVENT_TYPES - {"track"}:
        assert cells(json.dumps({"type": kind, "event": "X"}).encode())["event"] == ""


def test_numbers_and_booleans_are_read_leniently() -> None:
    """Typed context columns take the usual spellings and are null otherwise."""
    spelled: list[tuple[Any, bool | None]] = [
        (True, True),
        ("false", False),
        (1, True),
        ("x", None),
        (None, None),
        ([], None),
    ]
    for value, expected in spelled:
        assert values.as_bool(value) is expected
    numbers: list[tuple[Any, float | None]] = [
        (3, 3.0),
        ("2.5", 2.5),
        (True, None),
        ("x", None),
        (1e999, None),
        (10**400, None),
    ]
    for value, number in numbers:
        assert values.as_number(value) == number
