"""What drivers ask by themselves: a handshake, a query to be stopped, the catalogue. The drivers: tests/e2e."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.clickhouse import http_drivers, http_guard
from destinations.clickhouse.readonly import Reader

from .conftest import LIMITS, Running
from .test_http_blocks import unpacked
from .test_http_load import HEAVY, wait_for

CATALOGUE = "FROM system.data_type_families AS dt LEFT JOIN (SELECT * FROM VALUES (('Int8', 1))) AS a ON dt.name = a.c1"


@pytest.mark.engine
def test_a_client_of_a_later_protocol_is_told_revision_0(clickhouse: Running) -> None:
    """The handshake has the frame of the later revision and names revision 0; without the parameter it is plain."""
    options: dict[str, Any] = {"default_format": "Native", "client_protocol_version": "54460"}
    told = clickhouse.post(http_drivers.HELLO, **options).content
    assert told.startswith(
        b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01\x0ddisplayName()\x06String\x00\x09headwater"
    )
    assert b"revision()\x06UInt32\x00\x00\x00\x00\x00" in told
    assert told.endswith(b"timezone()\x06String\x00\x03UTC")
    assert unpacked(clickhouse.post(http_drivers.HELLO, **options, compress="1").content) == told
    plain = clickhouse.post(http_drivers.HELLO, default_format="Native").content
    assert plain.startswith(b"\x04\x01\x0ddisplayName()\x06String")
    assert clickhouse.post("SELECT 1 AS a", **options).content == b"\x01\x01\x01a\x05UInt8\x01"


@pytest.mark.engine
def test_a_query_is_stopped_by_its_id_though_no_slot_is_free(clickhouse: Running) -> None:
    """KILL QUERY ends the query with 394, running or waiting, and tells whether there was one."""
    with ThreadPoolExecutor(LIMITS.concurrent + 1) as pool:
        heavy = [
            pool.submit(clickhouse.get, HEAVY.format(tag=f"stop{number}"), query_id=f"id-{number}")
            for number in range(LIMITS.concurrent)
        ]
        wait_for(clickhouse, "stop", LIMITS.concurrent)
        told = clickhouse.post("KILL QUERY WHERE query_id = 'id-0'")
        assert told.text == "waiting\tid-0\tdefault\n"
        assert heavy[0].result(20).headers["x-clickhouse-exception-code"] == "394"
        assert not heavy[1].done()
        assert clickhouse.post("kill query where query_id='id-1' SYNC;").text == "waiting\tid-1\tdefault\n"
        assert heavy[1].result(20).headers["x-clickhouse-exception-code"] == "394"
    assert clickhouse.post("KILL QUERY WHERE query_id = 'id-0'").text == ""


@pytest.mark.parametrize(
    "sql",
    [
        "KILL QUERY WHERE 1",
        "KILL QUERY WHERE query_id = 'a' OR 1",
        "KILL QUERY WHERE query_id != 'a'",
        "KILL QUERY WHERE query_id = 'a' SYNC TEST",
        "KILL QUERY WHERE query_id = 'a\\' OR 1 OR \\''",
        "KILL QUERY ON CLUSTER c WHERE query_id = 'a'",
        "KILL QUERY WHERE user = 'default'",
        "KILL MUTATION WHERE query_id = 'a'",
        "KILL QUERY WHERE query_id = 'a'; SELECT 1",
    ],
)
@pytest.mark.engine
def test_any_other_kill_is_refused(clickhouse: Running, sql: str) -> None:
    """Only one statement stops queries, and only those of this interface with that id."""
    assert http_drivers.killed(sql) is None
    assert clickhouse.post(sql).status_code >= 400


@pytest.mark.engine
def test_the_catalogue_is_asked_with_clickhouses_own_default(clickhouse: Running) -> None:
    """A missing partner is an empty value there, NULL in every other query, and what the client says where it says it."""
    asked = f"SELECT countIf(isNull(a.c2)) > 0 {CATALOGUE}"
    assert clickhouse.post(asked).text == "0\n"
    assert clickhouse.post(asked, join_use_nulls="1").text == "1\n"
    own = (
        "SELECT isNull(b.id) FROM events AS a LEFT JOIN (SELECT 7 AS id WHERE 0) AS b ON a.id = b.id LIMIT 1"
    )
    assert clickhouse.post(own).text == "1\n"


@pytest.mark.parametrize(
    ("sql", "only"),
    [
        (f"SELECT 1 {CATALOGUE} WHERE a.c1 IN ('x', 'y')", True),
        ("SELECT name, engine FROM system.tables", True),
        ("SELECT * FROM INFORMATION_SCHEMA.TABLES ORDER BY 1, 2", True),
        ("SELECT 1", False),
        ("SELECT * FROM events", False),
        ("SELECT * FROM system.tables AS t LEFT JOIN headwater.events AS e ON 1 = 1", False),
        ("SELECT * FROM system.tables AS t, headwater.events AS e", False),
        (
            "SELECT * FROM system.one AS a JOIN system.one AS b ON f(a.x, b.x) = 1, headwater.events AS e",
            False,
        ),
        ("SELECT * FROM system.tables WHERE name IN (SELECT name FROM events)", False),
        ("SELECT trim(BOTH 'x' FROM name) FROM system.tables", False),
    ],
)
def test_a_statement_reads_the_catalogue_alone(sql: str, only: bool) -> None:
    """In doubt it does not."""
    assert http_drivers.reads_catalogue(http_guard.tokens(sql)) is only


@given(st.text(max_size=40))
def test_any_text_is_read(text: str) -> None:
    """Whatever the text, it stops nothing but one id without quotes, and breaks nothing."""
    found = http_drivers.killed(f"KILL QUERY WHERE query_id = '{text}'")
    assert found is None or (found == text and "'" not in text)
    http_drivers.reads_catalogue(http_guard.tokens(f"SELECT 1 FROM {text}"))


@pytest.mark.engine
def test_a_waiting_query_is_stopped_before_it_runs(clickhouse: Running) -> None:
    """A cancelled query that still waits for a slot never starts."""
    with ThreadPoolExecutor(LIMITS.concurrent + 1) as pool:
        heavy = [
            pool.submit(clickhouse.get, HEAVY.format(tag=f"queue{number}"), query_id=f"q-{number}")
            for number in range(LIMITS.concurrent)
        ]
        wait_for(clickhouse, "queue", LIMITS.concurrent)
        late = pool.submit(clickhouse.get, "SELECT 'late'", query_id="late")
        while clickhouse.post("KILL QUERY WHERE query_id = 'late'").text == "":
            threading.Event().wait(0.01)
        for number in range(LIMITS.concurrent):
            clickhouse.post(f"KILL QUERY WHERE query_id = 'q-{number}'")
        assert late.result(20).headers["x-clickhouse-exception-code"] == "394"
        assert all(one.result(20).headers["x-clickhouse-exception-code"] == "394" for one in heavy)


@pytest.mark.engine
def test_a_query_that_has_just_begun_is_stopped_too(
    clickhouse: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine does not know of it yet when it is first told to stop it."""
    kill, told = Reader.kill, list[str]()

    def late(reader: Reader, tag: str) -> None:
        told.append(tag)
        if len(told) > 3:
            kill(reader, tag)

    with ThreadPoolExecutor(1) as pool:
        heavy = pool.submit(clickhouse.get, HEAVY.format(tag="early"), query_id="early")
        wait_for(clickhouse, "early", 1)
        monkeypatch.setattr(Reader, "kill", late)
        assert clickhouse.post("KILL QUERY WHERE query_id = 'early'").text == "waiting\tearly\tdefault\n"
        assert heavy.result(20).headers["x-clickhouse-exception-code"] == "394"
    assert len(told) > 3
