"""A ClickHouse server behind TLS with a certificate of an authority of one's own."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from destinations.clickhouse.config import Config
from destinations.clickhouse.engine import EngineError
from headwater.log.memory import MemoryLog
from tests.support.clickhouse_faults import Faults
from tests.unit.destinations.clickhouse.loading import base_rows, entry, event, loaded, loading
from tests.unit.destinations.clickhouse_server.conftest import USER, Warehouse, connection

pytestmark = [pytest.mark.engine, pytest.mark.slow]
_DAY = dt.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issue(folder: Path) -> ssl.SSLContext:
    """Writes ca.pem, an authority, and returns a server's context for 127.0.0.1 that it signed."""
    keys = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)

    def certificate(number: int, name: str) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name("authority"))
        builder = builder.public_key(keys[number].public_key()).serial_number(number + 1)
        key_id = x509.SubjectKeyIdentifier.from_public_key(keys[number].public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key())
        builder = builder.add_extension(key_id, critical=False).add_extension(issuer, critical=False)
        return builder.not_valid_before(now - _DAY).not_valid_after(now + _DAY)

    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    authority = certificate(0, "authority").add_extension(x509.BasicConstraints(True, None), critical=True)
    authority = authority.add_extension(usage, critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    server = certificate(1, "server").add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    private = keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + server.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@pytest.fixture
def encrypted(warehouse: Warehouse, tmp_path: Path) -> Iterator[Faults]:
    """The proxy, speaking TLS."""
    with Faults(warehouse.server.port, tls=issue(tmp_path)) as faults:
        yield faults


async def test_events_are_loaded_over_tls_with_an_own_authority(
    warehouse: Warehouse, encrypted: Faults, tmp_path: Path
) -> None:
    """`ca` names the authority; user and password go inside."""
    config: dict[str, Any] = {
        "url": f"https://127.0.0.1:{encrypted.port}",
        "ca": str(tmp_path / "ca.pem"),
        **USER,
    }
    log = MemoryLog()
    await log.append([entry(event("m1"), event("m2"))])
    engine = connection(config)
    async with loading(engine, log, **config, views=False):
        await loaded(log)
    engine.close()
    assert base_rows(warehouse.direct) == ["m1", "m2"]
    assert {one.user for one in encrypted.met} == {"loader"}


def test_a_certificate_nobody_vouches_for_is_refused(encrypted: Faults) -> None:
    """Without `ca` the system's authorities decide, and nothing is sent."""
    engine = connection({"url": f"https://127.0.0.1:{encrypted.port}", **USER})
    with pytest.raises(EngineError, match="CERTIFICATE_VERIFY_FAILED"):
        engine.query("SELECT 1")
    assert encrypted.met == []


def test_certificates_without_https_are_a_mistake() -> None:
    """Somebody believes the connection to be encrypted."""
    with pytest.raises(ValidationError, match="ca is set but url is not https://"):
        Config(url="http://clickhouse:8123", ca="ca.pem")
