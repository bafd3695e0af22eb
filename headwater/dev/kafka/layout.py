"""What a cluster looks like, as values: its nodes, their ports, and the properties file of each.

Every broker is a controller too (KRaft, combined mode). Clients come in on PLAINTEXT and, where `Security` says so, on
listeners that ask who they are; brokers talk to each other on REPLICATION, so that faults put between clients and a
broker leave replication alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headwater.errors import ConfigError, Problem

HOST = "127.0.0.1"
SECURE = ("SASL_SSL", "SSL", "SASL_PLAINTEXT")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_WORD = re.compile(r"[A-Za-z0-9._~!@#%+/:-]+")  # needs no quoting in JAAS, nor for the storage tool
_PACKAGE = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Listeners that ask who comes: SASL_SSL and SASL_PLAINTEXT by password or token, SSL by the client's certificate.

    OAUTHBEARER takes Kafka's *unsecured* tokens (`alg: none`): good for tests of clients, for nothing else.
    """

    users: Mapping[str, str] = field(repr=False)  # name -> password, for PLAIN and both SCRAMs
    ca: Path  # PEM; who may sign clients' certificates
    certificate: Path  # PEM; the brokers' certificate and its PKCS#8 key in one file

    def __post_init__(self) -> None:
        for word in (*self.users, *self.users.values()):
            if not _WORD.fullmatch(word):
                raise ConfigError(
                    [
                        Problem(
                            "a user or password for Kafka's tests may hold letters, digits and -._~!@#%+/: only"
                        )
                    ]
                )


@dataclass(frozen=True, slots=True)
class Node:
    """One broker: where it keeps its files and which port each listener has."""

    id: int
    folder: Path
    ports: Mapping[str, int]
    advertised: Mapping[str, int]  # where clients of a listener are sent instead: a proxy's port

    @property
    def properties(self) -> Path:
        """Its configuration; the path is also what its process is known by."""
        return self.folder / "server.properties"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / "broker.log"

    @property
    def data(self) -> Path:
        """Its records."""
        return self.folder / "data"

    @property
    def formatted(self) -> Path:
        """There once its storage was made."""
        return self.folder / "formatted"

    def address(self, listener: str) -> str:
        """Where clients of a listener are sent."""
        return f"{HOST}:{self.advertised.get(listener, self.ports[listener])}"


def properties(
    node: Node, nodes: list[Node], security: Security | None, settings: Mapping[str, str]
) -> dict[str, str]:
    """The configuration of one broker; `settings` go before everything else."""
    listeners = [name for name in node.ports if name != "CONTROLLER"]
    protocols = {name: name if name in SECURE else "PLAINTEXT" for name in node.ports}
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.id),
        "log.dirs": str(node.data),
        "controller.quorum.voters": ",".join(
            f"{each.id}@{HOST}:{each.ports['CONTROLLER']}" for each in nodes
        ),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "REPLICATION",
        "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in node.ports.items()),
        "advertised.listeners": ",".join(f"{name}://{node.address(name)}" for name in listeners),
        "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
        **_copies(len(nodes)),
        **_SMALL,
        **(_secure(security) if security else {}),
        **settings,
    }


def _copies(brokers: int) -> dict[str, str]:
    """As many copies of everything as fit, up to the usual three of which two must answer."""
    copies, answers = str(min(brokers, 3)), "2" if brokers >= 3 else "1"
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": answers,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": answers,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": answers,
    }


_SMALL = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "broker.session.timeout.ms": "3000",  # a killed broker cannot come back before its old session is over
    "broker.heartbeat.interval.ms": "500",
    "offsets.topic.num.partitions": "4",  # 50 take seconds to open on three brokers
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "16777216",  # 128 MB by default, a third of the heap
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def _secure(security: Security) -> dict[str, str]:
    passwords = " ".join(f'user_{name}="{password}"' for name, password in security.users.items())
    jaas = {
        "plain": f"{_PACKAGE}.plain.PlainLoginModule required {passwords};",
        "scram-sha-256": f"{_PACKAGE}.scram.ScramLoginModule required;",
        "scram-sha-512": f"{_PACKAGE}.scram.ScramLoginModule required;",
        "oauthbearer": f"{_PACKAGE}.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="broker";',
    }
    return {
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(security.certificate),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(security.ca),
        "listener.name.ssl.ssl.client.auth": "required",
        **{
            f"listener.name.{listener}.{mechanism}.sasl.jaas.config": module
            for listener in ("sasl_ssl", "sasl_plaintext")
            for mechanism, module in jaas.items()
        },
    }


def render(settings: Mapping[str, str]) -> str:
    """The text of a properties file."""
    return "".join(f"{key}={_escaped(value)}\n" for key, value in settings.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def scram(security: Security) -> list[str]:
    """What the storage tool is told, so that the users are known from the first moment."""
    return [
        word
        for name, password in security.users.items()
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for word in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
    ]
