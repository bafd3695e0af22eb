"""The interface with the clients it is for: clickhouse-connect as it is, curl, and requests shaped as JDBC and Grafana send."""

from __future__ import annotations

import gzip
import io
import json
import statistics
import subprocess
import time

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
import pytest
import zstandard
from clickhouse_connect.driver.exceptions import ClickHouseError
from pyarrow import parquet

from destinations.clickhouse.http import serve
from headwater.errors import AlreadyRunning

from .conftest import Running

pytestmark = pytest.mark.engine


def test_the_stock_client_reads(clickhouse: Running) -> None:
    """clickhouse-connect connects, queries, binds parameters, streams and reads data frames and Arrow."""
    client = clickhouse_connect.get_client(host="127.0.0.1", port=clickhouse.server.port)
    try:
        assert client.query("SELECT id, name FROM events ORDER BY id LIMIT 2").result_rows == [
            (0, "n0"),
            (1, "n1"),
        ]
        awkward = "it's\ta \\ line\n"
        bound = client.query(
            "SELECT {a:UInt8}, {b:String}, {c:Array(Int8)}", parameters={"a": 5, "b": awkward, "c": [1, -1]}
        )
        assert bound.result_rows == [(5, awkward, [1, -1])]
        assert client.query("SELECT %(a)s", parameters={"a": awkward}).result_rows == [(awkward,)]
        assert list(client.query_df("SELECT id, name FROM events LIMIT 3").shape) == [3, 2]
        assert client.query_arrow("SELECT id FROM events").num_rows == 100_000
        with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(500000)") as blocks:
            assert sum(len(block) for block in blocks) == 500_000
        assert client.query("SELECT id FROM events WHERE 0").result_rows == []
        assert client.command("SELECT count() FROM events") == 100_000
        assert client.ping()
    finally:
        client.close()


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_the_stock_client_reads_compressed(clickhouse: Running, compress: str | bool) -> None:
    """Each compression that clickhouse-connect asks for gives the same rows."""
    client = clickhouse_connect.get_client(host="127.0.0.1", port=clickhouse.server.port, compress=compress)
    try:
        assert client.query("SELECT sum(id), count() FROM (SELECT id FROM events)").result_rows == [
            (4_999_950_000, 100_000)
        ]
        assert len(client.query("SELECT id, name FROM events").result_rows) == 100_000
    finally:
        client.close()


def test_the_stock_client_sees_errors(clickhouse: Running) -> None:
    """A wrong name and a write fail with ClickHouse's own codes, before and in the middle of a stream."""
    client = clickhouse_connect.get_client(host="127.0.0.1", port=clickhouse.server.port)
    try:
        with pytest.raises(ClickHouseError, match="code: 47"):
            client.query("SELECT nope")
        with pytest.raises(ClickHouseError, match="code: 164"):
            client.command("INSERT INTO events VALUES (1, 'a', 'b')")
        with pytest.raises(ClickHouseError, match="throwIf"):
            len(
                client.query(
                    "SELECT throwIf(number = 2900000), toString(number) FROM numbers(3000000)"
                ).result_rows
            )
        assert client.query("SELECT 1").result_rows == [(1,)]
    finally:
        client.close()


def test_curl_reads(clickhouse: Running) -> None:
    """A query as body or parameter, a format in the query, compression, and a broken stream that curl notices."""

    def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        url = f"http://127.0.0.1:{clickhouse.server.port}/"
        return subprocess.run(["curl", "-sS", "-m", "20", *arguments, url], capture_output=True, check=False)

    assert curl("-d", "SELECT id, name FROM events ORDER BY id LIMIT 1").stdout == b"0\tn0\n"
    assert curl("-G", "--data-urlencode", "query=SELECT 1 AS a FORMAT JSONEachRow").stdout == b'{"a":1}\n'
    assert curl("--compressed", "-d", "SELECT sum(number) FROM numbers(10)").stdout == b"45\n"
    assert curl().stdout == b"Ok.\n"
    broken = curl("-d", "SELECT throwIf(number = 2900000), toString(number) FROM numbers(3000000)")
    assert broken.returncode == 18
    assert b"__exception__" in broken.stdout[-2000:]
    assert b"Code: 395. DB::Exception" in broken.stdout[-2000:]


def test_a_jdbc_shaped_request_is_answered(clickhouse: Running) -> None:
    """Settings that JDBC drivers send are answered; RowBinary with names and types arrives whole."""
    answer = clickhouse.post(
        "SELECT version(), timezone(), currentUser()",
        headers={"X-ClickHouse-Format": "RowBinaryWithNamesAndTypes", "X-ClickHouse-User": "default", "X-ClickHouse-Database": "default"},
        max_result_rows="100", result_overflow_mode="break", extremes="0", send_progress_in_http_headers="1",
        date_time_output_format="iso", session_id="abc", session_timeout="60", query_id="q-1", wait_end_of_query="1",
        async_insert="0", readonly="1", max_threads="64",
    )  # fmt: skip
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x03\x09version()")
    assert answer.headers["x-clickhouse-query-id"] == "q-1"
    assert answer.headers["x-clickhouse-format"] == "RowBinaryWithNamesAndTypes"
    assert answer.headers["x-clickhouse-timezone"] == "UTC"
    assert json.loads(answer.headers["x-clickhouse-summary"])["result_rows"] == "1"


def test_a_grafana_shaped_request_is_answered(clickhouse: Running) -> None:
    """A GET with a default format, quoted 64-bit integers and basic authentication that is not configured."""
    answer = clickhouse.http.get(
        "/",
        params={
            "query": "SELECT toUInt64(7) AS seven /* grafana dashboard=x */ ; ", "default_format": "JSON",
            "output_format_json_quote_64bit_integers": "1", "database": "default", "add_http_cors_header": "1",
        },
        auth=("default", ""),
    )  # fmt: skip
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["data"] == [{"seven": "7"}]


def test_settings_are_obeyed_up_to_the_limits(clickhouse: Running) -> None:
    """Rows may be limited further, never beyond; an unknown setting is an error, leaving read-only mode another."""
    assert clickhouse.get("SELECT number FROM numbers(10)", limit="3").text == "0\n1\n2\n"
    refused = clickhouse.get("SELECT number FROM numbers(100000)", max_result_rows="5", wait_end_of_query=1)
    assert (refused.status_code, refused.headers["x-clickhouse-exception-code"]) == (500, "396")
    raised = clickhouse.get(
        "SELECT getSetting('max_memory_usage'), getSetting('readonly'), getSetting('max_threads')",
        max_memory_usage="0",
    )
    assert raised.text == f"{200 << 20}\t1\t1\n"
    assert (
        clickhouse.get("SELECT getSetting('max_result_rows')", max_result_rows="99999999999").text
        == "3000000\n"
    )
    assert clickhouse.get("SELECT 1", no_such_setting="1").headers["x-clickhouse-exception-code"] == "115"
    assert clickhouse.get("SELECT 1", readonly="0").headers["x-clickhouse-exception-code"] == "164"
    assert clickhouse.get("SELECT 1", max_result_rows="many").status_code == 400


def test_the_query_may_stand_in_the_address_and_the_body(clickhouse: Running) -> None:
    """`query` and the body are joined by a line break; parameters are typed; a body may be compressed."""
    assert clickhouse.post("+ 1", query="SELECT 1").text == "2\n"
    assert (
        clickhouse.get("SELECT {x:UInt8} + 1, {s:String}", param_x="4", param_s="a\\tb").text == "5\ta\\tb\n"
    )
    assert clickhouse.get("SELECT {x:UInt8}").status_code == 400
    assert clickhouse.get("SELECT count() FROM {t:Identifier}", param_t="events").text == "100000\n"
    for encoding, packed in (
        ("gzip", gzip.compress(b"SELECT 42")),
        ("zstd", zstandard.compress(b"SELECT 42")),
        ("lz4", lz4.frame.compress(b"SELECT 42")),
    ):
        assert clickhouse.post(packed, headers={"content-encoding": encoding}).text == "42\n"
        assert clickhouse.post(b"broken", headers={"content-encoding": encoding}).status_code == 400
    bomb = gzip.compress(b"SELECT 1 -- " + b" " * (8 << 20))
    assert clickhouse.post(bomb, headers={"content-encoding": "gzip"}).status_code == 400
    assert clickhouse.post(b" " * ((1 << 20) + 1)).status_code == 413
    assert clickhouse.post("SELECT 1", headers={"content-encoding": "br"}).status_code == 400
    assert clickhouse.post(b"SELECT '\xff'").status_code == 400


def test_formats_with_head_and_foot_arrive_whole(clickhouse: Running) -> None:
    """Formats that cannot be sent block by block are still one well-formed document over many blocks."""
    table = parquet.read_table(io.BytesIO(clickhouse.get("SELECT id FROM events FORMAT Parquet").content))
    assert table.num_rows == 100_000
    document = clickhouse.get("SELECT id FROM events", default_format="JSON").json()
    assert document["rows"] == len(document["data"]) == 100_000
    named = clickhouse.get("SELECT id FROM events ORDER BY id FORMAT CSVWithNames")
    assert named.text.splitlines()[:2] == ['"id"', "0"]
    assert named.text.count('"id"') == 1
    assert named.headers["content-type"] == "text/csv; charset=UTF-8; header=present"


def test_health_paths(clickhouse: Running) -> None:
    """`/`, `/ping` and `/replicas_status` say Ok over GET and HEAD; other paths and methods are told so."""
    for path in ("/", "/ping", "/replicas_status"):
        assert clickhouse.http.get(path).text == "Ok.\n"
        head = clickhouse.http.head(path)
        assert (head.status_code, head.content) == (200, b"")
    assert clickhouse.http.get("/nothing").status_code == 404
    assert clickhouse.http.put("/").status_code == 405
    assert clickhouse.http.get("/ping", headers={"host": "rebound.example"}).status_code == 403


def test_what_is_not_offered_says_so(clickhouse: Running) -> None:
    """External tables are refused with what to do instead."""
    answer = clickhouse.http.post("/", params={"query": "SELECT 1"}, files={"t": b"1"})
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (501, "48")


def test_small_answers_do_not_wait_for_acknowledgements(clickhouse: Running) -> None:
    """Answers leave at once: with Nagle's algorithm on, each would take 40 ms."""
    took = []
    for _ in range(15):
        start = time.perf_counter()
        assert clickhouse.http.get("/ping").text == "Ok.\n"
        took.append(time.perf_counter() - start)
    assert statistics.median(took) < 0.03


def test_a_port_in_use_is_a_clear_error(clickhouse: Running) -> None:
    """The second server on a port names it and says what to do."""
    with pytest.raises(
        AlreadyRunning, match=f"{clickhouse.server.port}: Address already in use; .*--clickhouse-port"
    ):
        serve(clickhouse.folder, port=clickhouse.server.port)
