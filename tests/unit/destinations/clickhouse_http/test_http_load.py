"""One heavy query, or many, or clients that vanish: loading goes on, memory stays bounded, slots come back."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx2
import psutil
import pytest

from destinations.clickhouse.http_request import read

from .conftest import LIMITS, Running, running

pytestmark = pytest.mark.engine

HEAVY = "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(sipHash64(number), '{tag}')"


def processes(one: Running, tag: str) -> int:
    """How many queries with this mark the engine runs now."""
    sql = f"SELECT count() FROM system.processes WHERE query LIKE '%{tag}%' AND query NOT LIKE '%system.processes%'"
    return int(bytes(one.writer.query(sql, "TSV").bytes()))


def wait_for(one: Running, tag: str, count: int, seconds: float = 10) -> None:
    """Returns when so many queries with this mark run (a condition in the engine, which can tell nobody)."""
    end = time.monotonic() + seconds
    while processes(one, tag) != count:
        assert time.monotonic() < end, f"{processes(one, tag)} queries run, expected {count}"
        threading.Event().wait(0.01)


def hang_up_after(one: Running, sql: str) -> socket.socket:
    """A raw request whose answer nobody reads."""
    client = socket.create_connection(("127.0.0.1", one.server.port))
    client.sendall(f"GET /?query={quote(sql)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def test_inserts_and_the_loop_go_on_beside_a_heavy_query(clickhouse: Running) -> None:
    """While a query runs, inserts on the writing connection and other requests take milliseconds."""
    clickhouse.writer.query("CREATE TABLE headwater.beside (id UInt64) ENGINE = MergeTree ORDER BY id")
    client = hang_up_after(clickhouse, HEAVY.format(tag="beside"))
    try:
        wait_for(clickhouse, "beside", 1)
        inserts, pings = [], []
        for number in range(20):
            start = time.perf_counter()
            clickhouse.writer.query(f"INSERT INTO headwater.beside VALUES ({number})")
            inserts.append(time.perf_counter() - start)
            start = time.perf_counter()
            assert clickhouse.http.get("/ping").status_code == 200
            pings.append(time.perf_counter() - start)
        assert processes(clickhouse, "beside") == 1
        assert statistics.median(inserts) < 0.1
        assert statistics.median(pings) < 0.1
    finally:
        client.close()
    wait_for(clickhouse, "beside", 0)


def test_a_client_that_hangs_up_frees_its_slot(clickhouse: Running) -> None:
    """The query of a vanished client is stopped long before its time limit, and its slot is free again."""
    clients = [
        hang_up_after(clickhouse, HEAVY.format(tag=f"gone{number}")) for number in range(LIMITS.concurrent)
    ]
    wait_for(clickhouse, "gone", LIMITS.concurrent)
    assert clickhouse.get("SELECT 1").headers["x-clickhouse-exception-code"] == "202"
    for client in clients:
        client.close()
    wait_for(clickhouse, "gone", 0)
    assert clickhouse.get("SELECT 1").text == "1\n"


def test_a_client_that_stops_reading_is_cut_off_from_the_engine(clickhouse: Running) -> None:
    """A stream whose reader vanished in the middle ends its query."""
    with clickhouse.http.stream(
        "GET", "/", params={"query": "SELECT number, 'stalled' FROM numbers(3000000)"}
    ) as answer:
        assert next(answer.iter_raw(1000))
    wait_for(clickhouse, "stalled", 0)
    assert clickhouse.get("SELECT 1").text == "1\n"


def test_too_many_queries_are_refused_with_their_code(clickhouse: Running) -> None:
    """Past the slots and the short queue the answer is 202 TOO_MANY_SIMULTANEOUS_QUERIES, at once."""
    held = [
        hang_up_after(clickhouse, HEAVY.format(tag=f"held{number}")) for number in range(LIMITS.concurrent)
    ]
    try:
        wait_for(clickhouse, "held", LIMITS.concurrent)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: clickhouse.get("SELECT 1"), range(4)))
        assert {answer.headers["x-clickhouse-exception-code"] for answer in answers} == {"202"}
        assert any("waiting" in answer.text for answer in answers)
        assert any("none of 2 ended" in answer.text for answer in answers)
        assert all("TOO_MANY_SIMULTANEOUS_QUERIES" in answer.text for answer in answers)
    finally:
        for client in held:
            client.close()
    wait_for(clickhouse, "held", 0)


def test_a_query_cannot_take_more_than_its_share(clickhouse: Running) -> None:
    """Memory, rows, buffered bytes and time end with ClickHouse's own codes, and the process stays small."""
    codes = {
        "SELECT groupArray(number) FROM numbers(200000000)": "241",
        "SELECT count() FROM (SELECT number FROM numbers(100000000) GROUP BY number)": "241",
        "SELECT repeat('x', 500 + number % 2) FROM numbers(60000) FORMAT JSON": "396",
        "SELECT number FROM numbers(4000000) FORMAT TSVWithNames": "396",
        "SELECT sleepEachRow(3) FROM numbers(10) SETTINGS max_block_size = 1": "164",
    }
    for sql, code in codes.items():
        answer = clickhouse.get(sql)
        assert answer.headers.get("x-clickhouse-exception-code") == code, answer.text[:300]
    slow = clickhouse.get(HEAVY.format(tag="slow"), max_execution_time="1")
    assert (slow.status_code, slow.headers["x-clickhouse-exception-code"]) == (408, "159")


def test_a_long_stream_is_never_held_whole(clickhouse: Running) -> None:
    """Three million rows pass through without the process growing by their size."""
    process, size, peak = psutil.Process(), 0, 0
    before = process.memory_info().rss
    with clickhouse.http.stream(
        "GET",
        "/",
        params={
            "query": "SELECT number, repeat('x', 60) FROM numbers(2900000)",
            "enable_http_compression": "0",
        },
    ) as answer:
        for chunk in answer.iter_raw(1 << 20):
            size += len(chunk)
            peak = max(peak, process.memory_info().rss)
    assert size > 180_000_000
    assert peak - before < 120 << 20


def test_a_password_is_asked_where_one_is_configured() -> None:
    """Every place a client may put it is read; a wrong one is 403 with code 516."""
    assert read("query=x&password=s", {}, b"", 100).password == "s"
    assert read("query=x", {"x-clickhouse-key": "s", "x-clickhouse-user": "u"}, b"", 100).user == "u"
    assert read("query=x", {"authorization": "Basic dTpz"}, b"", 100).password == "s"


def test_a_wrong_password_is_refused(clickhouse: Running) -> None:
    """A second interface on the same engine asks for its password."""
    with running(clickhouse.folder, password="hunter2") as guarded:
        refused = guarded.get("SELECT 1")
        assert (refused.status_code, refused.headers["x-clickhouse-exception-code"]) == (403, "516")
        assert "hunter2" not in refused.text
        assert guarded.get("SELECT 1", password="hunter2").text == "1\n"
        assert httpx2.get(f"http://127.0.0.1:{guarded.server.port}/ping").text == "Ok.\n"
