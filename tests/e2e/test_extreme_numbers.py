"""Numbers that no double and no 64-bit integer holds, from the request to every destination."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.running import Running, eventually

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HUGE = (
    '{"over": 1e999, "under": -1e400, "tiny": 1e-999, "whole": 123456789012345678901234567890, "plain": 1.5}'
)
KEPT = {
    "over": "1e999",
    "under": "-1e400",
    "tiny": 0,
    "whole": "123456789012345678901234567890",
    "plain": 1.5,
}
EVENTS = {
    "properties": f'{{"type":"track","event":"E","userId":"u1","properties":{HUGE}}}',
    "nested": f'{{"type":"track","event":"E","userId":"u1","properties":{{"list":[1e999,{HUGE}]}}}}',
    "traits": f'{{"type":"identify","userId":"u2","traits":{HUGE}}}',
    "account": f'{{"type":"group","userId":"u2","groupId":"g1","traits":{{"employees":1e999,"plan":{HUGE}}}}}',
    "context": f'{{"type":"page","userId":"u3","context":{{"screen":{{"width":1e999,"height":{"9" * 400}}},"ip":1e999,'
    f'"userAgent":1e999,"device":{{"model":1e999}},"campaign":1e999,"own":{HUGE}}}}}',
    "unknown": f'{{"type":"track","event":"E","userId":"u5","integrations":{{"All":1e999}},"extra":{HUGE}}}',
    "neighbour": '{"type":"track","event":"E","userId":"u6","properties":{"n":1}}',
}


class Hook(BaseHTTPRequestHandler):
    """A receiver that keeps the events it was sent."""

    got: list[dict[str, Any]] = []  # noqa: RUF012 - the class stands for the receiver

    def do_POST(self) -> None:
        """Take the body."""
        Hook.got += json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    """The address of a webhook that takes everything."""
    Hook.got = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, receiver: str) -> Iterator[Running]:
    """ClickHouse, the webhook, and another ClickHouse database behind a filter; every event was sent."""
    text = f"""\
workspace: acme
sources:
  api: {{kind: server, write_keys: [wk_api]}}
destinations:
  warehouse: {{type: clickhouse}}
  hook: {{type: webhook, url: "{receiver}", allow_private: true}}
  chosen: {{type: clickhouse, database: chosen, filter: 'type = "page"'}}
"""
    started = Running(tmp_path_factory.mktemp("numbers"), text)
    try:
        send(started.start())
        yield started
    finally:
        started.kill()


def send(running: Running) -> None:
    """Half of the events one by one, half in a batch: all of them are taken."""
    singles, batch = dict(list(EVENTS.items())[::2]), dict(list(EVENTS.items())[1::2])
    for name, text in singles.items():
        body = text.replace("{", f'{{"messageId":"{name}","writeKey":"wk_api",', 1)
        assert running.post(f"/v1/{json.loads(text)['type']}", body.encode()) == (200, {"success": True})
    lines = [text.replace("{", f'{{"messageId":"{name}",', 1) for name, text in batch.items()]
    body = f'{{"writeKey":"wk_api","batch":[{",".join(lines)}]}}'
    assert running.post("/v1/batch", body.encode()) == (200, {"success": True})


def test_extreme_numbers_lose_no_event_and_no_neighbour(running: Running) -> None:
    """Each event is in ClickHouse and at the webhook; a number that nothing can hold is kept as its text."""
    running.wait_for("1", len(EVENTS))
    stored = {
        row["message_id"]: row
        for row in running.sql("SELECT message_id, properties, traits, context FROM headwater.events")
    }
    assert stored["properties"]["properties"] == KEPT
    assert stored["nested"]["properties"] == {"list": ["1e999", KEPT]}
    assert stored["traits"]["traits"] == KEPT
    assert json.loads(stored["context"]["context"])["ip"] == "1e999"
    assert stored["neighbour"]["properties"] == {"n": 1}
    eventually(lambda: len(Hook.got) == len(EVENTS), what="all events at the webhook")
    sent = {event["messageId"]: event for event in Hook.got}
    assert sent["properties"]["properties"]["over"] == "1e999"
    assert sent["context"]["context"]["device"] == {"model": "1e999"}
    funnel = json.loads(running.run("status", "--json").stdout)["funnel"]
    assert (funnel["processed"], funnel["dropped"]) == (len(EVENTS), {})
    assert [flow["dead"] for flow in funnel["destinations"].values()] == [0, 0, 0]


def test_extreme_numbers_reach_profiles_filters_and_the_commands(running: Running) -> None:
    """The people table, a filtered destination, tap and trace read them, too."""
    found = eventually(lambda: running.sql("SELECT traits FROM headwater.user_profiles"), what="the user")
    assert found == [{"traits": KEPT}]
    found = eventually(
        lambda: running.sql("SELECT traits FROM headwater.account_profiles"), what="the account"
    )
    assert found[0]["traits"]["employees"] == "1e999"
    eventually(lambda: running.count("1", "chosen.events") == 1, what="the page alone passes the filter")
    for topic in ("accepted", "processed"):
        shown = running.run("tap", topic, "--from-start", "--no-follow", "--json").stdout.splitlines()
        assert len(shown) == len(EVENTS)
    stops = json.loads(running.run("trace", "properties", "--json").stdout)["stops"]
    assert [stop["stage"] for stop in stops] == ["accepted", "processed"]


def test_a_number_in_place_of_a_name_or_time_is_refused_and_said(running: Running) -> None:
    """What the collector itself must read is checked there: the item is rejected by name, not lost later."""
    for item in (
        '{"type":"track","event":"E","userId":1e999}',
        '{"type":"track","event":"E","timestamp":1e999}',
    ):
        body = f'{{"writeKey":"wk_api","batch":[{item}]}}'
        status, answer = running.post("/v1/batch", body.encode())
        assert (status, [one["index"] for one in answer["rejected"]]) == (200, [0])
        assert "range of numbers" in answer["rejected"][0]["message"]
