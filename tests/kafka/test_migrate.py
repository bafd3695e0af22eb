"""A machine's log carried to Kafka under load: nothing that was acknowledged is lost or there twice, in any of the stages."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headwater.log import moving
from headwater.paths import DataDir
from tests.support.running import Running, eventually
from tests.support.sending import Sender

pytestmark = [pytest.mark.kafka, pytest.mark.engine, pytest.mark.slow]

STAGES = {"collector", "processor", "destinations"}
WORKSPACE = """\
workspace: acme
sources:
  api: {{kind: server, write_keys: [wk_api]}}
destinations:
  warehouse: {{type: clickhouse, max_wait_s: 0.5}}
  hook: {{type: webhook, url: "http://127.0.0.1:{hook}/in", allow_private: true, delivery: {{concurrency: 1, batch: {{max_events: 50}}}}}}
"""
KAFKA = """\
log: {{type: kafka, brokers: ["{bootstrap}"], partitions: 3, replication: 1, min_insync_replicas: 1, topic_prefix: "{prefix}"}}
"""


class Hook(ThreadingHTTPServer):
    """A webhook's receiver: slow, so that it falls behind, until it is let go."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.got: list[str] = []
        self.hurry = threading.Event()


class _Taking(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        """Take a batch, in its time."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.hurry.wait(0.25)
        self.server.got += [event["messageId"] for event in body]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's names
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A receiver on loopback."""
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def running(tmp_path: Path, kafka: str, topic_prefix: str, hook: Hook) -> Iterator[Running]:
    """A machine, and beside its workspace the one it is to go to."""
    text = WORKSPACE.format(hook=hook.server_port)
    (tmp_path / "cluster.yaml").write_text(text + KAFKA.format(bootstrap=kafka, prefix=topic_prefix))
    machine = Running(tmp_path, text)
    try:
        yield machine
    finally:
        machine.kill()


def migrate(running: Running, *options: str) -> subprocess.Popen[str]:
    """`headwater migrate --to kafka`, started."""
    workspace = str(running.file.with_name("cluster.yaml"))
    arguments = running.command("migrate", "--to", "kafka", "--workspace", workspace, *options)
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(command: subprocess.Popen[str], code: int = 0) -> str:
    """What the command printed, once it has ended with the code."""
    out, errors = command.communicate(timeout=90)
    assert command.returncode == code, f"{command.returncode}\n{out}\n{errors}"
    return out + errors


def begun(running: Running) -> subprocess.Popen[str]:
    """The command, stopped where it waits for the stages to leave; then only the collector runs."""
    command, data = migrate(running), DataDir(running.dir)

    def noted() -> bool:
        assert command.poll() is None, command.communicate()
        return moving.read(data) is not None

    eventually(noted, seconds=60, what="the note")
    command.send_signal(signal.SIGSTOP)
    eventually(lambda: children(running) == {"collector"}, seconds=60, what="the change")
    return command


def children(running: Running) -> set[str]:
    """The stages that run."""
    return set(json.loads((running.dir / "run" / "up.json").read_text())["children"])


def send(running: Running, *events: dict[str, Any]) -> None:
    """One batch that is acknowledged."""
    assert running.post("/v1/batch", {"writeKey": "wk_api", "batch": list(events)})[0] == 200


def track(message: str, visitor: int, event: str) -> dict[str, Any]:
    """An event of a visitor who does not say who they are."""
    return {"type": "track", "event": event, "messageId": message, "anonymousId": f"visitor-{visitor}"}


def identify(visitor: int) -> dict[str, Any]:
    """A visitor says who they are."""
    ids = {"anonymousId": f"visitor-{visitor}", "userId": f"user-{visitor}"}
    return {"type": "identify", "messageId": f"who-{visitor}", "traits": {"n": visitor}, **ids}


def load(running: Running, *senders: Sender) -> None:
    """Until each sender has had some hundreds of events acknowledged from now on."""
    counts = [len(one.acknowledged) + 300 for one in senders]
    eventually(
        lambda: all(len(one.acknowledged) >= n for one, n in zip(senders, counts, strict=True)),
        what=f"load; {running.errors()}",
    )


def funnel(running: Running) -> Any:
    """What `headwater status` tells of the events."""
    return json.loads(running.run("status", "--json").stdout)["funnel"]


@pytest.mark.timeout(180)
def test_a_machine_moves_to_kafka_under_load_and_nothing_is_lost_or_twice(
    running: Running, hook: Hook
) -> None:
    """One partition becomes three while clients send; the command is killed, then everything is; all stages go on exactly."""
    running.start()
    send(running, *(identify(n) for n in range(20)))
    running.wait_for("type = 'identify'", 20)
    with Sender(running.port, "a") as first, Sender(running.port, "b") as second:
        load(running, first, second)
        killed = begun(running)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        load(running, first, second)
        seen = first.seen + second.seen
        running.kill()
        running.file = running.file.with_name("cluster.yaml")
        running.start()
        load(running, first, second)
        assert children(running) == {"collector"}
        told = json.loads(finished(migrate(running, "--json")))
        eventually(lambda: children(running) == STAGES, seconds=60, what="all stages on Kafka")
        load(running, first, second)
    every = first.seen + second.seen
    repeated = every.total() - every["200"]
    sent = {*first.acknowledged, *second.acknowledged}
    assert told["state"] == "moved"
    cut = seen.total() - seen["200"]  # a connection that the leaving collector had not read a request from
    assert {*seen} <= {"200", "BrokenPipeError", "ConnectionResetError", "RemoteDisconnected"}, seen
    assert cut <= 4, seen

    again = sorted(sent)[::7]
    for at in range(0, len(again), 100):
        send(
            running,
            *(track(one, int(one.split("-")[1]) % 20, "Report Viewed") for one in again[at : at + 100]),
        )
    send(running, *(track(f"later-{n}", n, "After") for n in range(20)))
    send(running, {**identify(3), "messageId": "plan", "traits": {"plan": "yearly"}})
    running.wait_for("event = 'after'", 20, seconds=60)
    rows = running.sql("SELECT message_id, user_id FROM headwater.events WHERE event = 'after'")
    assert {row["message_id"]: row["user_id"] for row in rows} == {
        f"later-{n}": f"user-{n}" for n in range(20)
    }
    profile = (
        "SELECT profile FROM headwater.user_profiles WHERE id = 'user-3' AND profile LIKE '%\"yearly\"%'"
    )
    eventually(
        lambda: running.sql(profile),
        what="what was learned after the move, in place of what was known before",
    )
    running.wait_for("event = 'report_viewed'", len(sent), seconds=40)
    loaded = running.sql("SELECT message_id FROM headwater.events WHERE event = 'report_viewed'", final=False)
    assert {row["message_id"] for row in loaded} == sent

    hook.hurry.set()
    total = len(sent) + 41
    eventually(
        lambda: funnel(running)["destinations"]["hook"]["read"] == total, seconds=60, what="the webhook"
    )
    assert Counter(hook.got) == Counter(
        {*sent, "plan", *(f"{one}-{n}" for one in ("later", "who") for n in range(20))}
    )
    books = funnel(running)
    assert (books["processed"], books["in_flight"]) == (total, 0)
    assert books["dropped"] == {"duplicate": books["accepted"] - total}
    assert len(again) <= books["dropped"]["duplicate"] <= len(again) + 10 * repeated
    assert books["adds_up"]
    assert {one["delivered"] for one in books["destinations"].values()} == {total}
    assert running.stop() == 0
    refused = running.run("up", "--workspace", str(running.file.with_name("headwater.yaml")), check=False)
    assert refused.returncode == 1
    assert "was carried to Kafka" in refused.stderr


@pytest.mark.timeout(120)
def test_a_move_that_was_begun_can_be_taken_back(running: Running, hook: Hook) -> None:
    """What the collector accepted meanwhile is in the old log behind what was there, and its stages go on."""
    hook.hurry.set()
    running.start()
    with Sender(running.port, "a") as sender:
        load(running, sender)
        killed = begun(running)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        load(running, sender)
        told = json.loads(running.run("migrate", "--rollback", "--json").stdout)
        eventually(lambda: children(running) == STAGES, seconds=30, what="all stages on the old log")
        load(running, sender)
    assert told["events_accepted_meanwhile"] >= 300
    running.wait_for("event = 'report_viewed'", len(sender.acknowledged), seconds=40)
    found = running.sql("SELECT uniqExact(message_id) AS n FROM headwater.events")
    assert int(found[0]["n"]) == len(sender.acknowledged)
    assert running.run("migrate", "--rollback", check=False).returncode == 1
