"""TLS, straight and through a proxy's tunnel, with a certificate of a private authority."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sdk.python.tests.loopback import serving
from sdk.python.tests.senders import SENDERS, by_task

from headwater_sdk import AsyncClient

x509 = pytest.importorskip("cryptography.x509", reason="makes the certificate (dev group)")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signed itself, with its key, in one file."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    encoding = serialization.Encoding.PEM
    path.write_bytes(
        made.public_bytes(encoding)
        + key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@contextmanager
def tunnel() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that knows nothing but CONNECT; gives its URL and the requests that it saw."""
    seen: list[bytes] = []

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # whoever closes first
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as client:
            request = client.recv(65_536)
            seen.append(request)
            host, port = request.split()[1].decode().split(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=copy, args=(server, client))
                back.start()
                copy(client, server)
                back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://me:secret@127.0.0.1:{listener.getsockname()[1]}", seen
        thread.join(20)
        assert not thread.is_alive()


@SENDERS
def test_https_checks_the_certificate(send: Any, certificate: Path) -> None:
    """With the authority given it delivers, on one connection; without it, nothing is sent and nothing is lost."""
    with serving(tls=str(certificate)) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        assert send(server, ["A", "B"], ssl_context=context).delivered == 2
        assert len(server.connections) == 1
        report = send(server, ["C"], flush=0.2, timeout=0.2, on_error=lambda *_: None)
        assert (report.delivered, report.queued) == (0, 1)
    assert server.events == ["A", "B"]


@SENDERS
def test_https_goes_through_the_tunnel_of_a_proxy(send: Any, certificate: Path) -> None:
    """CONNECT with the proxy's login; the collector's certificate is checked all the same."""
    if send is by_task and sys.version_info < (3, 11):
        return  # asyncio's streams learnt it in 3.11; the error says so
    with serving(tls=str(certificate)) as server, tunnel() as (proxy, seen):
        context = ssl.create_default_context(cafile=str(certificate))
        assert send(server, ["A"], ssl_context=context, proxies={"https": proxy}).ok
    assert server.events == ["A"]
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in seen[0]


@pytest.mark.parametrize("configured", [True, False])
def test_a_proxy_that_asyncio_cannot_tunnel_through_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, *, configured: bool
) -> None:
    """Below Python 3.11, also where the environment names the proxy: not an error at each request, silently tried again."""
    monkeypatch.setattr("headwater_sdk._ahttp.TUNNELS", False)
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "" if configured else "http://me:secret@proxy.test:3128")
    proxies = {"https": "http://me:secret@proxy.test:3128"} if configured else None
    with pytest.raises(
        ValueError, match=r"collector\.test, through the proxy proxy\.test; .*use Client"
    ) as raised:
        AsyncClient("wk", "https://collector.test", proxies=proxies)
    assert "secret" not in str(raised.value)
    AsyncClient("wk", "https://collector.test", proxies={})
    AsyncClient("wk", "http://collector.test", proxies=proxies)


def test_a_client_that_sends_nothing_needs_no_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `send=False`, as in an app's tests, no proxy of the machine is in the way."""
    monkeypatch.setattr("headwater_sdk._ahttp.TUNNELS", False)
    client = AsyncClient("wk", "https://c.test", proxies={"https": "http://proxy.test:3128"}, send=False)
    assert client.queued == 0
