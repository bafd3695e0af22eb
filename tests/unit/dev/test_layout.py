"""The properties of a broker, as a function of the cluster's shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.dev.kafka.layout import Node, Security, properties, render
from headwater.errors import ConfigError

PORTS = {"PLAINTEXT": 1, "REPLICATION": 2, "CONTROLLER": 3}


def node(number: int = 1, **advertised: int) -> Node:
    """A broker."""
    ports = {name: 10_000 * number + port for name, port in PORTS.items()}
    return Node(number, Path(f"/kafka/{number}"), ports, advertised)


@pytest.mark.parametrize(("brokers", "copies", "answers"), [(1, "1", "1"), (3, "3", "2")])
def test_as_many_copies_as_brokers_and_two_of_three_must_answer(
    brokers: int, copies: str, answers: str
) -> None:
    """Kafka's own topics follow, or the first transaction would wait for brokers that do not exist."""
    nodes = [node(number) for number in range(1, brokers + 1)]
    made = properties(nodes[0], nodes, None, {})
    for name in ("default", "offsets.topic", "transaction.state.log"):
        assert made[f"{name}.replication.factor"] == copies
    assert made["min.insync.replicas"] == made["transaction.state.log.min.isr"] == answers
    assert made["controller.quorum.voters"].count("@") == brokers


def test_clients_are_sent_to_a_proxy_and_the_broker_listens_where_it_did() -> None:
    """Replication goes direct."""
    made = properties(node(PLAINTEXT=99), [node()], None, {})
    assert made["listeners"].startswith("PLAINTEXT://127.0.0.1:10001,REPLICATION://127.0.0.1:10002")
    assert made["advertised.listeners"] == "PLAINTEXT://127.0.0.1:99,REPLICATION://127.0.0.1:10002"


def test_settings_go_before_everything_else() -> None:
    """A test may change any property."""
    chosen = {"broker.session.timeout.ms": "9000", "transaction.max.timeout.ms": "10000"}
    made = properties(node(), [node()], None, chosen)
    assert {key: made[key] for key in chosen} == chosen


def test_fsync_is_left_as_kafka_has_it() -> None:
    """What is measured and tested is what an operator would run."""
    assert not [key for key in properties(node(), [node()], None, {}) if "flush" in key]


@pytest.mark.parametrize("word", ['quo"te', "semi;colon", "com,ma", "bracket]", "equals=", "back\\slash", ""])
def test_passwords_that_would_need_quoting_are_refused(word: str) -> None:
    """JAAS and the storage tool would read something else."""
    with pytest.raises(ConfigError):
        Security(users={"alice": word}, ca=Path("ca"), certificate=Path("both"))


def test_a_password_is_in_no_repr() -> None:
    """Test reports print objects."""
    security = Security(users={"alice": "hidden"}, ca=Path("ca"), certificate=Path("both"))
    assert "hidden" not in repr(security)


def test_a_properties_file_keeps_backslashes_and_lines() -> None:
    """As Java reads them."""
    assert render({"a": "b\\c\nd"}) == "a=b\\\\c\\nd\n"
