"""What the interface must never do: write, read files, reach the network, touch this process or other people's queries."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destinations.clickhouse import http_guard

from .conftest import Running

pytestmark = pytest.mark.engine

# {file}: a file on disk with a secret in it; {out}: a file that must not appear; {port}: a listening port nobody may call
ESCAPES = [
    # writing
    "INSERT INTO headwater.events VALUES (1, 'a', 'b')",
    "INSERT INTO headwater.events SELECT * FROM headwater.events",
    "INSERT INTO FUNCTION file('{out}', 'CSV', 'a String') VALUES ('x')",
    "CREATE TABLE headwater.x (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE x (a UInt8)",
    "CREATE DATABASE x",
    "CREATE VIEW headwater.v AS SELECT 1",
    "CREATE FUNCTION f AS (x) -> file(x)",
    "CREATE USER x",
    "CREATE DICTIONARY headwater.d (id UInt64) PRIMARY KEY id SOURCE(FILE(path '{file}' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
    "ALTER TABLE headwater.events DELETE WHERE 1",
    "ALTER TABLE headwater.events ADD COLUMN x UInt8",
    "DELETE FROM headwater.events WHERE 1",
    "DROP TABLE headwater.events",
    "TRUNCATE TABLE headwater.events",
    "RENAME TABLE headwater.events TO headwater.other",
    "OPTIMIZE TABLE headwater.events FINAL",
    "DETACH TABLE headwater.events",
    "ATTACH TABLE headwater.events",
    "BACKUP TABLE headwater.events TO File('{out}')",
    "RESTORE TABLE headwater.events FROM File('{out}')",
    "SELECT 1 INTO OUTFILE '{out}'",
    "SELECT 1 /* x */ InTo/**/OuTfIlE '{out}' TRUNCATE FORMAT CSV",
    "EXPLAIN SELECT 1 INTO OUTFILE '{out}'",
    "GRANT ALL ON *.* TO default",
    # leaving read-only mode
    "SET readonly = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT * FROM (SELECT 1 SETTINGS max_threads = 8)",
    "SELECT * FROM (SELECT getSetting('readonly') SETTINGS readonly = 0)",
    "SELECT * FROM (SELECT * FROM url('http://127.0.0.1:{port}/', 'LineAsString') SETTINGS readonly = 0)",
    "WITH x AS (SELECT 1 SETTINGS `readonly` = 0) SELECT * FROM x",
    "SELECT 1; DROP TABLE headwater.events",
    "SELECT 1;\n-- x\nSET readonly = 0",
    "SET allow_introspection_functions = 1",
    "EXECUTE AS default SELECT 1",
    # reading files
    "SELECT file('{file}')",
    "SELECT `file`('{file}')",
    'SELECT "file"(\'{file}\')',
    "SELECT fi/**/le('{file}')",
    "SELECT -- file\nfile('{file}')",
    "SELECT arrayMap(file, ['{file}'])",
    "SELECT arrayMap(x -> file(x), ['{file}'])",
    "SELECT * APPLY file FROM (SELECT '{file}' AS x)",
    "SELECT * APPLY(file) FROM (SELECT '{file}' AS x)",
    "SELECT COLUMNS('x') APPLY(x -> file(x)) FROM (SELECT '{file}' AS x)",
    "WITH file AS f SELECT arrayMap(f, ['{file}'])",
    "EXPLAIN SELECT file('{file}')",
    "SELECT * FROM file('{file}', 'LineAsString')",
    "SELECT * FROM fileCluster('default', '{file}', 'LineAsString')",
    "SELECT * FROM `{file}`",
    "SELECT * FROM '{file}'",
    "SELECT * FROM default.`{file}`",
    "DESCRIBE file('{file}', 'LineAsString')",
    "DESCRIBE TABLE File('{file}')",
    "DESCRIBE `{file}`",
    "EXISTS default.`{file}`",
    "SELECT * FROM sqlite('{file}', 'x')",
    "SELECT * FROM executable('cat {file}', 'TSV', 'a String')",
    "SELECT * FROM filesystem('/')",
    "SELECT * FROM loop(file('{file}'))",
    "SELECT * FROM icebergLocal('{file}')",
    "SELECT * FROM view(SELECT file('{file}'))",
    "SELECT * FROM viewIfPermitted(SELECT file('{file}') ELSE null('x String'))",
    "SELECT * FROM eval('SELECT file(\\'{file}\\')')",
    "SELECT * FROM merge('system', 'stack_trace')",
    # the network
    "SELECT * FROM url('http://127.0.0.1:{port}/', 'LineAsString')",
    "DESCRIBE url('http://127.0.0.1:{port}/')",
    "DESC TABLE URL('http://127.0.0.1:{port}/')",
    "DESCRIBE (SELECT * FROM url('http://127.0.0.1:{port}/'))",
    "EXPLAIN SELECT * FROM url('http://127.0.0.1:{port}/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:{port}/b/k', 'CSV', 'a String')",
    "DESCRIBE s3('http://127.0.0.1:{port}/b/k')",
    "SELECT * FROM remote('127.0.0.1:{port}', 'system.one')",
    "DESCRIBE remote('127.0.0.1:{port}', 'system.one')",
    "SELECT * FROM remoteSecure('127.0.0.1:{port}', 'system.one')",
    "SELECT * FROM mysql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
    "DESCRIBE mysql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
    "SELECT * FROM mongodb('127.0.0.1:{port}', 'd', 't', 'u', 'p', 'a String')",
    "SELECT * FROM redis('127.0.0.1:{port}', 'key', 'key String')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:{port}/x', 'CSV', 'a String')",
    "SELECT * FROM azureBlobStorage('http://127.0.0.1:{port}/', 'c', 'p')",
    "SELECT * FROM jdbc('jdbc:x', 'd', 't')",
    "SELECT * FROM odbc('DSN=x', 'd', 't')",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT aiGenerate('x', map('url', 'http://127.0.0.1:{port}/'))",
    # this process and its other queries
    "SELECT * FROM python(os)",
    "SELECT * FROM Python('sys')",
    "SELECT * FROM `python`(os)",
    "KILL QUERY WHERE 1",
    "SYSTEM SHUTDOWN",
    "SYSTEM RELOAD CONFIG",
    "SELECT * FROM system.stack_trace",
    "SELECT * FROM system.`stack_trace`",
    "SELECT * FROM input('a UInt8')",
    "SELECT * FROM dictionary('d')",
    "CHECK TABLE headwater.events",
    "",
    ";;",
    "/* SELECT 1 */",
]  # fmt: skip


PIECES = (
    "file", "(", ")", "'{file}'", "[", "]", ",", "*", "APPLY", "FROM", "(SELECT '{file}' AS x)", "arrayMap", "x ->", "x", "file(x)",
    "INTO", "OUTFILE", "'{out}'", "AS", "url", ";", "--", "/*", "*/", "`file`", "\n", "1", "UNION ALL", "SELECT", "SETTINGS",
    "readonly", "=", "0", "FORMAT", "JSON", "WITH", "numbers(3)", "'", "`",
)  # fmt: skip


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A file with a secret, a path that must stay free, and a port that counts its callers."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "secret.txt").write_text("the-secret\n")
    return {"file": str(folder / "secret.txt"), "out": str(folder / "out.txt"), "port": "0"}


@pytest.mark.parametrize("escape", ESCAPES)
def test_an_escape_is_refused(clickhouse: Running, trap: dict[str, str], escape: str) -> None:
    """Every statement of the list is answered with an exception; no file, no secret and no call gets through."""
    calls: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.0)
        sql = escape.format(**{**trap, "port": listener.getsockname()[1]})
        answers = [
            clickhouse.post(sql),
            clickhouse.get(sql, database="default"),
            clickhouse.get(sql, database="system"),
        ]
        with contextlib.suppress(BlockingIOError):
            listener.accept()[0].close()
            calls.append(sql)
    assert not calls
    assert not Path(trap["out"]).exists()
    for answer in answers:
        assert "the-secret" not in answer.text
        if sql.strip(";"):
            assert answer.status_code >= 400, answer.text
            assert answer.headers["x-clickhouse-exception-code"].isdigit()


def test_nothing_changed(clickhouse: Running) -> None:
    """The table still holds what it held, and the engine's writing connection is not read-only."""
    assert clickhouse.get("SELECT count() FROM headwater.events").text == "100000\n"
    assert bytes(clickhouse.writer.query("SELECT getSetting('readonly')", "TSV").bytes()) == b"0\n"


def test_a_parameter_cannot_name_a_forbidden_function(clickhouse: Running, trap: dict[str, str]) -> None:
    """`Identifier` parameters obey the rules of the names they stand for."""
    sql = "SELECT arrayMap({f:Identifier}, ['" + trap["file"] + "'])"
    for name in ("file", "`file`", "FILE"):
        answer = clickhouse.get(sql, param_f=name)
        assert answer.status_code >= 400
        assert "the-secret" not in answer.text
    assert clickhouse.get("SELECT * FROM system.{t:Identifier}", param_t="stack_trace").status_code >= 400


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT t.file FROM events AS t LIMIT 1", "f\n"),
        ("SELECT events.file, 'file(1)', 'INTO OUTFILE' FROM events LIMIT 1", "f\tfile(1)\tINTO OUTFILE\n"),
        ("SELECT url FROM (SELECT 'u' AS url)", "u\n"),
        ("SELECT 'x' AS file -- INTO OUTFILE\n;", "x\n"),
        ("SELECT $$file('x')$$", "file(\\'x\\')\n"),
        ("WITH 1 AS one SELECT one", "1\n"),
        ("(SELECT 1) UNION ALL (SELECT 1)", "1\n1\n"),
        ("FROM events SELECT count()", "100000\n"),
        ("SELECT format('{}-{}', 'a', 'b'), 5 - -1, 4 / 2", "a-b\t6\t2\n"),
        ("SELECT 1 AS format", "1\n"),
        ("EXISTS TABLE events", "1\n"),
        ("SHOW TABLES FROM headwater", "events\n"),
        ("DESCRIBE TABLE events", "id\tUInt64"),
        ("SELECT settings FROM (SELECT 1 AS settings)", "1\n"),
        ("EXPLAIN SELECT 1", "ReadFromSystemOne"),
        ("SELECT count() FROM numbers(5)", "5\n"),
        (f"SELECT 7 WHERE 'x' NOT IN ({', '.join(repr(f'{number:040}') for number in range(9000))})", "7\n"),
        ("SELECT 'Python(os)', 'ü', '\0'", "Python(os)\tü\t\\0\n"),
        ("USE system", ""),
        ("SELECT name FROM system.databases WHERE name = 'headwater'", "headwater\n"),
    ],
)
def test_honest_queries_are_not_in_the_way(clickhouse: Running, sql: str, text: str) -> None:
    """Columns, strings and aliases that look like an escape are read as what they are."""
    answer = clickhouse.post(sql)
    assert answer.status_code == 200, answer.text
    assert text in answer.text


def test_tokens_follow_quotes() -> None:
    """Strings hide words, quoted names do not."""
    words = [
        (token.kind, token.text) for token in http_guard.tokens("SELECT 'a''b\\'c' , `x``y`, \"z\" 1.5e3")
    ]
    assert words == [
        ("name", "SELECT"), ("string", "'a''b\\'c'"), ("symbol", ","), ("quoted", "x`y"), ("symbol", ","), ("quoted", "z"),
        ("number", "1.5e3"),
    ]  # fmt: skip


@given(st.text(), st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=2))
def test_any_text_is_judged(text: str, parameters: dict[str, str]) -> None:
    """Whatever the text, it is allowed or refused, and what is allowed begins with a reading verb."""
    try:
        found = http_guard.check(text, parameters, frozenset(("url",)))
    except http_guard.Refused as refused:
        found = []
        message = str(refused)
        assert message.startswith("Code: 164. DB::Exception: ")
    assert not found or found[0].word in http_guard.VERBS


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join))
def test_no_mixture_of_pieces_gets_out(clickhouse: Running, trap: dict[str, str], sql: str) -> None:
    """Random statements made of dangerous words are answered in ClickHouse's shape and give nothing away."""
    answer = clickhouse.post("SELECT " + sql.format(**trap))
    assert "the-secret" not in answer.text
    assert not Path(trap["out"]).exists()
    assert answer.status_code == 200 or answer.headers["x-clickhouse-exception-code"].isdigit()
