"""`headwater topics` and `headwater check --live`, as a person types them, on a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headwater.cli.app import app
from headwater.log.kafka.topics import names
from tests.support.running import free_port

pytestmark = pytest.mark.kafka
Write = Callable[..., None]


def run(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, list(arguments))


def told(*arguments: str) -> tuple[int, Any]:
    """Exit code and JSON of a command."""
    done = run(*arguments, "--json")
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def write(kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the workspace file of an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("HEADWATER_DIR", "HEADWATER_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)

    def put(brokers: str = kafka, partitions: int = 2, replication: int = 1, url: str = "") -> None:
        destinations = f"{{house: {{type: clickhouse, url: '{url}'}}}}" if url else "{}"
        Path("headwater.yaml").write_text(
            "workspace: a\nsources: {web: {kind: browser, write_keys: [k]}}\n"
            f"destinations: {destinations}\n"
            f"log: {{type: kafka, brokers: ['{brokers}'], partitions: {partitions}, replication: {replication}, "
            f"min_insync_replicas: 1, topic_prefix: {topic_prefix}}}\n"
        )

    put()
    return put


def test_topics_are_planned_made_and_then_as_wanted(write: Write, topic_prefix: str) -> None:
    """A plan changes nothing; `check --live` names what is missing until it is made."""
    code, planned = told("topics", "plan")
    assert (code, planned["applied"]) == (0, False)
    assert {(change["kind"], change["topic"]) for change in planned["changes"]} == {
        ("create", topic_prefix + name) for name in names([])
    }
    assert (
        f"+ {topic_prefix}events.accepted: create with 2 partitions, 1 replicas"
        in run("topics", "plan").stdout
    )
    code, checked = told("check", "--live")
    assert code == 1
    assert f"topic {topic_prefix}events.accepted" in {look["what"] for look in checked["live"]}
    assert told("topics", "apply") == (0, {**planned, "applied": True})
    assert told("topics", "plan") == (0, {"applied": False, "changes": []})
    assert run("topics", "apply").stdout == "the topics are as the workspace wants them\n"
    code, checked = told("check", "--live")
    assert (code, [(look["state"], look["what"]) for look in checked["live"]]) == (
        0,
        [("ok", "log.brokers"), ("ok", "topics")],
    )
    write(partitions=4)
    code, refused = told("topics", "apply")
    assert (code, {change["kind"] for change in refused["changes"]}) == (1, {"refuse"})
    assert "has 2 partitions, the workspace wants 4" in refused["changes"][0]["what"]
    done = run("check", "--live")
    assert done.exit_code == 1
    assert (
        f"problem topic {topic_prefix}events.accepted: has 2 partitions, the workspace wants 4" in done.stdout
    )


def test_copies_that_a_cluster_cannot_keep_are_an_error_with_what_to_type(write: Write) -> None:
    """One broker keeps no three copies."""
    write(replication=3)
    done = run("topics", "apply")
    assert done.exit_code != 0
    assert "log.replication" in done.stderr + str(done.exception)


def test_brokers_that_cannot_be_reached_are_named_with_the_reason(write: Write) -> None:
    """Each broker, why it does not answer; the command ends with 1 and in bounded time."""
    write(brokers=f"127.0.0.1:{(port := free_port())}")
    code, checked = told("check", "--live")
    (look,) = checked["live"]
    assert (code, checked["valid"], look["state"], look["what"]) == (1, True, "problem", "log")
    assert f"127.0.0.1:{port}: " in look["found"]
    assert "Connect call failed" in look["found"]


def test_a_clickhouse_that_is_not_there_is_named(write: Write) -> None:
    """Its url, and that it does not answer; what is in order is told too."""
    write(url=f"http://127.0.0.1:{(port := free_port())}")
    code, checked = told("check", "--live")
    look = checked["live"][-1]
    assert (code, look["state"], look["what"]) == (1, "problem", "destinations.house")
    assert look["found"].startswith(f"http://127.0.0.1:{port} does not answer: ")


def test_a_log_on_one_machine_has_no_topics(write: Write) -> None:
    """The command says so, with the code for a wrong configuration."""
    del write
    Path("headwater.yaml").write_text("workspace: a\nsources: {web: {kind: browser, write_keys: [k]}}\n")
    done = run("topics", "plan")
    assert (done.exit_code, "log.type is not kafka" in done.stderr) == (2, True)
