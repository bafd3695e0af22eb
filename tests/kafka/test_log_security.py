"""The log over an encrypted listener that asks who comes: as the workspace's `log.sasl` and `log.tls` say."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import ConfigError, LogUnavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.oauth import Tokens
from headwater.log.protocol import Entry, Position, Record, TopicPartition
from headwater.log.retention import DAY_S, Policy
from headwater.log.topics import ACCEPTED, PROCESSED, PROCESSOR_GROUP
from headwater.run.live import looks
from headwater.workspace.model import KafkaLogSettings, Workspace
from tests.kafka.test_security import PASSWORD, USER, Secured, secured

__all__ = ["secured"]
pytestmark = pytest.mark.kafka
IN = TopicPartition(ACCEPTED, 0)


def log_of(secured: Secured, prefix: str, protocol: str, **login: Any) -> KafkaLog:
    """The log as a workspace with these settings opens it."""
    settings = KafkaLogSettings.model_validate(
        {
            "brokers": secured.cluster.addresses(protocol).split(","),
            "replication": 1,
            "min_insync_replicas": 1,
            "topic_prefix": prefix,
            **login,
        }
    )
    return KafkaLog(settings, policy=lambda: Policy(DAY_S))


async def through(log: KafkaLog) -> list[bytes | None]:
    """Append, read as a group, copy in a transaction; what read_committed sees of the copy."""
    async with log:
        await log.append([Entry(*IN, Record(b"x"))])
        consumer = await log.consumer(PROCESSOR_GROUP, [ACCEPTED])
        (batch,) = await consumer.poll(timeout=10)
        transaction = (await log.claim(PROCESSOR_GROUP, IN)).begin()
        transaction.append(PROCESSED, 0, batch.records)
        transaction.advance(IN, Position(batch.next_offset))
        await transaction.commit()
        out = TopicPartition(PROCESSED, 0)
        await log.bounds(out)
        return [record.value for record in (await log.read(out, 0)).records]


async def test_the_log_works_with_scram_over_tls_with_an_authority_of_our_own(
    secured: Secured, topic_prefix: str
) -> None:
    """Every kind of client: appender, consumer, owner, reader, admin."""
    sasl = {"mechanism": "SCRAM-SHA-512", "username": USER, "password": PASSWORD}
    log = log_of(secured, topic_prefix, "SASL_SSL", sasl=sasl, tls={"ca": str(secured.authority.ca)})
    assert await through(log) == [b"x"]


async def test_the_log_works_with_a_client_certificate(secured: Secured, topic_prefix: str) -> None:
    """Mutual TLS, the key in a file of its own, encrypted."""
    tls = {
        "ca": str(secured.authority.ca),
        "certificate": str(secured.client.certificate),
        "key": str(secured.client.key),
        "key_password": "locked",
    }
    assert await through(log_of(secured, topic_prefix, "SSL", tls=tls)) == [b"x"]


async def test_a_wrong_password_is_the_log_being_unavailable(secured: Secured, topic_prefix: str) -> None:
    """The process starts, and every call says that no broker lets it in."""
    sasl = {"mechanism": "SCRAM-SHA-512", "username": USER, "password": "guess"}
    tls = {"ca": str(secured.authority.ca)}
    async with log_of(secured, topic_prefix, "SASL_SSL", sasl=sasl, tls=tls) as log:
        with pytest.raises(LogUnavailable, match="Authentication failed") as told:
            await log.append([Entry(*IN, Record(b"x"))])
    assert "guess" not in str(told.value)


async def test_check_live_says_that_a_password_is_wrong(secured: Secured, topic_prefix: str) -> None:
    """What the broker said, and which broker; not the password."""
    workspace = Workspace.model_validate(
        {
            "workspace": "a",
            "sources": {"web": {"kind": "browser", "write_keys": ["k"]}},
            "log": {
                "type": "kafka",
                "brokers": secured.cluster.addresses("SASL_SSL").split(","),
                "topic_prefix": topic_prefix,
                "sasl": {"mechanism": "SCRAM-SHA-512", "username": USER, "password": "guess"},
                "tls": {"ca": str(secured.authority.ca)},
            },
        }
    )
    (look,) = [look async for look in looks(workspace)]
    assert (look.state, look.what) == ("problem", "log")
    assert "Authentication failed" in look.found
    assert workspace.log.brokers[0] in look.found  # type: ignore[union-attr]
    assert "guess" not in look.found


async def test_the_log_works_with_tokens(
    secured: Secured, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OAUTHBEARER; the token is what Kafka's unsecured validator takes."""

    async def token(_: Tokens) -> str:
        now = int(time.time())
        parts = ({"alg": "none"}, {"sub": USER, "iat": now - 60, "exp": now + 600})
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*encoded, ""])

    monkeypatch.setattr(Tokens, "token", token)
    sasl = {
        "mechanism": "OAUTHBEARER",
        "token_url": "http://127.0.0.1:9/",
        "client_id": "c",
        "client_secret": "s",
    }
    log = log_of(secured, topic_prefix, "SASL_SSL", sasl=sasl, tls={"ca": str(secured.authority.ca)})
    assert await through(log) == [b"x"]


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    """The setting and the path are in the message."""
    ca = tmp_path / "ca.pem"
    ca.write_text("no certificate")
    settings = KafkaLogSettings.model_validate({"brokers": ["k:9093"], "tls": {"ca": str(ca)}})
    with pytest.raises(ConfigError, match=r"log\.tls\.ca: cannot use .*ca\.pem"):
        KafkaLog(settings)
