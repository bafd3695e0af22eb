"""Listeners that ask who comes: they let the right ones in, and nobody else."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from headwater.dev.kafka.cluster import Cluster
from headwater.dev.kafka.layout import Security
from tests.support.certificates import Authority, Signed
from tests.support.kafka import create_topic

pytestmark = pytest.mark.kafka
USER, PASSWORD = "headwater", "pass-word.of:tests~1"


@dataclass(frozen=True)
class Secured:
    """A broker with all listeners, and what its clients need."""

    cluster: Cluster
    authority: Authority
    client: Signed

    def tls(self, *, certificate: bool = False) -> ssl.SSLContext:
        """Trust in the broker's authority; with a certificate of our own on request."""
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        if certificate:
            context.load_cert_chain(self.client.certificate, self.client.key, "locked")
        return context


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One broker for this file."""
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder / "certificates")
    broker, client = authority.sign("broker"), authority.sign("client", password="locked")
    security = Security(users={USER: PASSWORD}, ca=authority.ca, certificate=broker.both)
    with Cluster(folder / "kafka", security=security) as cluster:
        yield Secured(cluster, authority, client)


class Token(AbstractTokenProvider):  # type: ignore[misc] # aiokafka is untyped
    """An unsecured JSON web token, as Kafka's test validator wants it."""

    def __init__(self, *, valid_s: int) -> None:
        self._expires = int(time.time()) + valid_s

    async def token(self) -> str:
        """Header and claims, no signature."""
        parts = ({"alg": "none"}, {"sub": USER, "iat": self._expires - 3600, "exp": self._expires})
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*encoded, ""])


async def produce(secured: Secured, protocol: str, topic: str, **options: Any) -> int:
    """Send one record through a listener; its offset."""
    await create_topic(secured.cluster.bootstrap, topic)
    producer = AIOKafkaProducer(
        bootstrap_servers=secured.cluster.addresses(protocol), security_protocol=protocol, **options
    )
    try:
        await producer.start()
        return int((await producer.send_and_wait(topic, b"value", partition=0)).offset)
    finally:
        await producer.stop()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
async def test_the_right_password_is_let_in(
    secured: Secured, mechanism: str, protocol: str, topic_prefix: str
) -> None:
    """Each mechanism works with and without TLS."""
    tls = secured.tls() if protocol == "SASL_SSL" else None
    login = {"sasl_plain_username": USER, "sasl_plain_password": PASSWORD, "sasl_mechanism": mechanism}
    assert await produce(secured, protocol, topic_prefix, ssl_context=tls, **login) == 0


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_refused(secured: Secured, mechanism: str, topic_prefix: str) -> None:
    """The client is told, and nothing is written."""
    login = {"sasl_plain_username": USER, "sasl_plain_password": "guess", "sasl_mechanism": mechanism}
    with pytest.raises(KafkaError):
        await produce(secured, "SASL_SSL", topic_prefix, ssl_context=secured.tls(), **login)


async def test_a_token_is_let_in_until_it_expires(secured: Secured, topic_prefix: str) -> None:
    """OAUTHBEARER with Kafka's unsecured tokens; aiokafka leaves a refusal unanswered, so its own timeout ends the attempt."""
    oauth: dict[str, Any] = {"ssl_context": secured.tls(), "sasl_mechanism": "OAUTHBEARER"}
    fresh, old = Token(valid_s=600), Token(valid_s=-600)
    assert await produce(secured, "SASL_SSL", topic_prefix, sasl_oauth_token_provider=fresh, **oauth) == 0
    with pytest.raises(KafkaError):
        await produce(
            secured,
            "SASL_SSL",
            f"{topic_prefix}2",
            sasl_oauth_token_provider=old,
            request_timeout_ms=1_500,
            **oauth,
        )


async def test_a_client_certificate_is_let_in_and_none_is_refused(
    secured: Secured, topic_prefix: str
) -> None:
    """Mutual TLS."""
    with_one, without = secured.tls(certificate=True), secured.tls()
    assert await produce(secured, "SSL", topic_prefix, ssl_context=with_one) == 0
    with pytest.raises(KafkaError):
        await produce(secured, "SSL", f"{topic_prefix}2", ssl_context=without)


async def test_a_broker_of_another_authority_is_not_trusted(
    secured: Secured, topic_prefix: str, tmp_path: Path
) -> None:
    """The client checks the broker, too."""
    stranger = ssl.create_default_context(cafile=str(Authority(tmp_path).ca))
    with pytest.raises(KafkaError):
        await produce(secured, "SSL", topic_prefix, ssl_context=stranger)
