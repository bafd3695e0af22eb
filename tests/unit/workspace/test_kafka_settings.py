"""`log:` of a workspace on Kafka: how each mistake is told, and what a running process does with a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import ConfigError
from headwater.workspace.diff import fixed
from headwater.workspace.load import loads
from headwater.workspace.model import Workspace

HEAD = "workspace: acme\nsources: {web: {kind: browser, write_keys: [k]}}\nlog:\n  type: kafka\n"
BROKERS = "  brokers: [k1:9092]\n"


def told(log: str) -> str:
    """The one problem of a workspace whose log has these lines."""
    with pytest.raises(ConfigError) as raised:
        loads(HEAD + log, Path("headwater.yaml"), environ={"PW": "p"})
    (problem,) = raised.value.problems
    return str(problem)


def workspace(log: str, environ: dict[str, str] | None = None) -> Workspace:
    """A valid one."""
    return loads(HEAD + log, Path("headwater.yaml"), environ=environ or {"PW": "p"}).workspace


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("  partitions: 3\n", "3:1: log: the key 'brokers' is missing (Some brokers to begin with, as host:port.)"),
        ("  brokers: []\n", "5:12: log.brokers: expected at least 1 entry, received none"),
        (
            BROKERS + '  sasl: {mechanism: PLAIN, password: "${PW}"}\n',
            "6:3: log.sasl: the key 'username' is missing (The user the brokers know.)",
        ),
        (BROKERS + "  sasl: {username: u}\n", "6:3: log.sasl: the key 'mechanism' is missing"),
        (
            BROKERS + '  sasl: {mechanism: SCRAM-SHA-521, username: u, password: "${PW}"}\n',
            ("6:21: log.sasl.mechanism: expected one of 'PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER', "
            "received 'SCRAM-SHA-521'; did you mean 'SCRAM-SHA-512'?"),
        ),
        (
            BROKERS + "  sasl: {mechanism: PLAIN, username: u, password: hunter2}\n",
            ('6:51: log.sasl.password: a secret may not stand in this file; write "${KAFKA_PASSWORD}" and set that '
            'variable, or "file:PATH"'),
        ),
        (
            BROKERS + "  replication: 2\n  min_insync_replicas: 3\n",
            ("4:3: log: min_insync_replicas 3 is more than replication 2: nothing could ever be written; lower the one "
            "or raise the other"),
        ),
        (BROKERS + "  tls: {key: k.pem}\n", "6:8: log.tls: key and key_password belong to a certificate; give the file of the certificate too"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(log: str, message: str) -> None:
    """File, line and column; the setting as it is written; no value that is a secret."""
    assert told(log) == f"headwater.yaml:{message}"


def test_a_changed_log_is_refused_while_running_and_no_secret_is_told() -> None:
    """The old one stays in force; what to do is said for each setting."""
    old = workspace(BROKERS + '  sasl: {mechanism: PLAIN, username: u, password: "${PW}"}\n')
    new = workspace(
        '  brokers: [k2:9092]\n  partitions: 4\n  sasl: {mechanism: PLAIN, username: u, password: "${PW}"}\n',
        {"PW": "another"},
    )
    assert [str(problem) for problem in fixed(old, new, "headwater.yaml")] == [
        (
            "headwater.yaml: log.brokers cannot change from ['k1:9092'] to ['k2:9092'] while Headwater runs: stop Headwater, "
            "then start it again with the new setting"
        ),
        (
            "headwater.yaml: log.partitions cannot change from 1 to 4 while Headwater runs: events already lie in their "
            "partitions; a new log.topic_prefix begins with another number"
        ),
        (
            "headwater.yaml: log.sasl cannot change while Headwater runs: stop Headwater, then start it again with the new "
            "setting"
        ),
    ]
