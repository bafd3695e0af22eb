"""A workspace without ClickHouse gets one while it runs: the SQL port opens, and the base table shows every row."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.running import Running, eventually

pytestmark = [pytest.mark.engine, pytest.mark.slow]

WORKSPACE = """\
workspace: acme
sources:
  api: {kind: server, write_keys: [wk_api]}
processors: {dedupe: {enabled: false}}
"""
ENGINE = "destinations: {warehouse: {type: clickhouse, merges: false}}\n"


def test_an_embedded_clickhouse_added_by_reload_can_be_queried(tmp_path: Path) -> None:
    """`query` and any client find it on the port that `up` was given; copies are counted where nothing merges."""
    running = Running(tmp_path, WORKSPACE)
    with socket.socket() as other:  # something else has the port: nobody minds before an engine is wanted
        other.bind(("127.0.0.1", running.sql_port))
        other.listen()
        running.start()
    try:
        body = {"writeKey": "wk_api", "userId": "u1", "event": "Signed Up", "messageId": "same"}
        assert running.run("query", "SELECT 1", check=False).returncode == 3
        assert running.post("/v1/track", body)[0] == 200
        running.file.write_text(WORKSPACE + ENGINE)
        running.wait_for("message_id = 'same'", 1, seconds=40)
        assert running.post("/v1/track", body)[0] == 200
        running.wait_for("message_id = 'same'", 2, seconds=20)
        assert running.sql("SELECT count() AS n FROM headwater.events") == [{"n": 1}]
        answer = running.run("query", "SELECT count() AS n FROM headwater.tracks", "--json")
        assert json.loads(answer.stdout)["data"] == [{"n": 1}]
        eventually(lambda: _lag(running) == "0.0", what="the loader's lag is measured")
        assert running.stop() == 0
        shutil.rmtree(running.dir / "log")  # as retention does, in the end
        running.start()
        told = json.loads(running.run("trace", "same", "--json").stdout)
        assert {(stop["stage"], stop["kept_in"]) for stop in told["stops"]} == {("processed", "clickhouse")}
        assert [found["state"] for found in told["destinations"]] == ["delivered"]
        assert "what ClickHouse remembers" in running.run("trace", "same").stdout
        assert "(any more), nor does ClickHouse" in running.run("trace", "nobody", check=False).stderr
    finally:
        running.kill()


def _lag(running: Running) -> str:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    name = 'headwater_destination_lag_events{destination="warehouse"} '
    return next((line.removeprefix(name) for line in text.splitlines() if line.startswith(name)), "")
