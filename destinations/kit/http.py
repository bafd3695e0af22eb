"""One HTTP exchange with a customer's address: the only place of the kit that opens sockets.

Redirects are not followed, proxies of the environment are not used, the answer is cut to 64 KiB, and one deadline covers
the whole exchange. Names are resolved here and the connection is made to the very address that was checked, so that a
name that changes its address between the check and the connection (DNS rebinding) reaches nothing private.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Self

import httpcore2
import httpx2

from destinations.kit.exchange import Exchange
from headwater.plugin import Misconfigured, Reject, Request, Response, Retry

RESPONSE_BYTES = 64 * 1024
USER_AGENT = "Headwater/1"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(Exception):
    """The name leads only to addresses that are not public."""


def is_public(address: str) -> bool:
    """Whether an address is reachable in the public internet, also where it wraps an IPv4 address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if wrapped is None and ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
    return ip.is_global and not ip.is_multicast


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only, each address checked after resolution and used as checked."""

    def __init__(self) -> None:
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, connect to the first public address that answers."""
        failure: Exception | None = None
        for address in await self.public_addresses(host, port):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError(f"{host} has no address")

    async def public_addresses(self, host: str, port: int) -> list[str]:
        """The public addresses of a name. Raises PrivateAddress where it has none but others."""
        found = await self.resolve(host, port)
        public = [address for address in found if is_public(address)]
        if found and not public:
            raise PrivateAddress(f"{host} leads to {found[0]}, which is not public")
        return public

    async def resolve(self, host: str, port: int) -> list[str]:
        """Every address of a name. Raises httpcore2.ConnectError."""
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(f"cannot resolve {host}: {error}") from error
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002 - the backend's shape
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Never: a destination is reached by TCP."""
        raise PrivateAddress(f"unix socket {path}")

    async def sleep(self, seconds: float) -> None:
        """Wait between connection attempts of the pool."""
        await self._inner.sleep(seconds)


class HttpClient:
    """Connections of one destination, kept alive between requests."""

    def __init__(self, concurrency: int, timeout_s: float, backend: GuardedBackend | None = None) -> None:
        self._timeout_s = timeout_s
        context = ssl.create_default_context()
        self._guarded = _pool(concurrency, context, backend or GuardedBackend())
        self._open = _pool(concurrency, context, None)

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""
        await self._guarded.aclose()
        await self._open.aclose()

    async def exchange(self, request: Request, now_ms: int) -> Exchange:
        """Send one request; what came back, or why nothing did. Never raises for what the other side does."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return Exchange(request, await self._answer(request, now_ms))
        except PrivateAddress as error:
            detail = f"{error}; set allow_private: true if that is meant"
            return Exchange(request, None, Misconfigured("url", detail))
        except (TimeoutError, httpcore2.TimeoutException):
            return Exchange(request, None, Retry(f"no answer within {self._timeout_s:g} s"))
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError, OSError) as error:
            return Exchange(request, None, Retry(f"{type(error).__name__}: {error}".rstrip(": ")))
        except (httpcore2.LocalProtocolError, httpcore2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            return Exchange(request, None, Reject("INVALID_REQUEST", str(error)))

    async def _answer(self, request: Request, now_ms: int) -> Response:
        url = httpx2.URL(request.url)
        headers = {"user-agent": USER_AGENT, "accept": "*/*", **request.headers}
        if request.sign is not None:
            headers |= request.sign(now_ms // 1000)
        pool = self._open if request.allow_private else self._guarded
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        wire = [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers.items()]
        async with pool.stream(request.method, target, headers=wire, content=request.body) as answer:
            body = bytearray()
            async for chunk in answer.aiter_stream():
                body += chunk
                if len(body) >= RESPONSE_BYTES:
                    break
            names = {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in answer.headers}
            return Response(answer.status, names, bytes(body[:RESPONSE_BYTES]))


def _pool(
    concurrency: int, context: ssl.SSLContext, backend: httpcore2.AsyncNetworkBackend | None
) -> httpcore2.AsyncConnectionPool:
    return httpcore2.AsyncConnectionPool(
        ssl_context=context,
        max_connections=concurrency,
        max_keepalive_connections=concurrency,
        keepalive_expiry=30.0,
        network_backend=backend,
    )
