"""How to reach the brokers: the workspace's `log:` as arguments of aiokafka's clients."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import client as aiokafka_client
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import has_lz4, has_zstd
from aiokafka.protocol.metadata import MetadataRequest

from headwater.errors import ConfigError, Problem
from headwater.log.kafka import sockets
from headwater.log.kafka.failures import hear
from headwater.log.kafka.oauth import Tokens
from headwater.log.topics import TOTALS
from headwater.workspace.model import KafkaLogSettings, KafkaTls, SaslPassword, SaslToken, secret

REQUEST_MS = 10_000
RETRY_MS = 100
METADATA_MS = 60_000
OWNER_METADATA_MS = (
    300_000  # there is an owner for each partition; one that meets a moved leader asks at once
)
RECORD_BYTES = 8 << 20  # of one batch on the wire; topics allow as much (`max.message.bytes`)
BATCH_BYTES = 1 << 20  # records of one partition that go together, before compression

hear("aiokafka")  # it tells of each retry; what does not heal by itself, the log raises, with the reason
sockets.mend()

# A client that asks about a topic makes it, where the brokers allow that (`auto.create.topics.enable`, their default): with
# one partition, which no other process would then accept. aiokafka has no setting for it.
aiokafka_client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)


class Connection:
    """Makes clients of one cluster."""

    def __init__(self, settings: KafkaLogSettings) -> None:
        self.settings = settings
        self._common = _common(settings)

    def client(self, name: str) -> AIOKafkaClient:
        """A client that is not connected yet (`bootstrap` does)."""
        return AIOKafkaClient(client_id=f"headwater-{name}", **self._common)

    def producer(
        self, name: str, transactional_id: str | None = None, timeout_ms: int = 0
    ) -> AIOKafkaProducer:
        """A producer, idempotent or transactional; not connected yet."""
        kind: dict[str, Any] = {"enable_idempotence": True}
        if transactional_id is not None:
            kind = {
                "transactional_id": transactional_id,
                "transaction_timeout_ms": timeout_ms,
                "metadata_max_age_ms": OWNER_METADATA_MS,
            }
        wanted: dict[str, Any] = {
            "acks": "all",
            "compression_type": compression(),
            "max_batch_size": BATCH_BYTES,
            "max_request_size": RECORD_BYTES,
            **self._common,
            **kind,
        }
        return AIOKafkaProducer(client_id=f"headwater-{name}", **wanted)

    async def start(self, producer: AIOKafkaProducer) -> None:
        """Connect a producer. Raises KafkaError and OSError."""
        await producer.start()
        # A client that knows of no topic asks for all of the cluster again and again; this one has a single partition.
        producer.client.add_topic(self.settings.topic_prefix + TOTALS)

    def admin(self) -> AIOKafkaAdminClient:
        """A client that looks at topics and changes them; not connected yet."""
        return AIOKafkaAdminClient(client_id="headwater-admin", **self._common)


def compression() -> str | None:
    """The best codec whose library is there."""
    if has_zstd():
        return "zstd"
    return "lz4" if has_lz4() else None


def _common(settings: KafkaLogSettings) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "bootstrap_servers": list(settings.brokers),
        "request_timeout_ms": REQUEST_MS,
        "retry_backoff_ms": RETRY_MS,
        "metadata_max_age_ms": METADATA_MS,
        "security_protocol": settings.security_protocol,
    }
    if settings.tls is not None:
        wanted["ssl_context"] = tls_context(settings.tls)
    match settings.sasl:
        case SaslPassword(mechanism=mechanism, username=username, password=password):
            wanted["sasl_mechanism"] = mechanism
            wanted["sasl_plain_username"] = username
            wanted["sasl_plain_password"] = secret(password)
        case SaslToken() as sasl:
            wanted["sasl_mechanism"] = "OAUTHBEARER"
            wanted["sasl_oauth_token_provider"] = Tokens(sasl)
    return wanted


def tls_context(tls: KafkaTls) -> ssl.SSLContext:
    """Certificates from files. Raises ConfigError that names the file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([Problem(f"log.tls.ca: cannot use {tls.ca!r}: {error}")]) from None
    if tls.certificate is not None:
        password = secret(tls.key_password) if tls.key_password is not None else ""
        try:
            context.load_cert_chain(tls.certificate, tls.key, password)
        except (OSError, ssl.SSLError) as error:
            told = f"log.tls.certificate: cannot use {tls.certificate!r} with key {tls.key or tls.certificate!r}: {error}"
            raise ConfigError([Problem(told)]) from None
    return context
