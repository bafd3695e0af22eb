"""HTTP/1.1 over one kept connection with asyncio's streams: just what a batch and its answer need."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Optional

from headwater_sdk._answers import Answer, lost, may_be_too_much
from headwater_sdk._http import MOST_ANSWER_BYTES, Target, proxy_login, readable

if TYPE_CHECKING:
    import ssl

TUNNELS = sys.version_info >= (3, 11)  # asyncio's streams speak TLS through a proxy
_CRLF = "\r\n"
_GOODBYE_S = 1.0


def check(target: Target) -> None:
    """Raise ValueError where asyncio of this Python cannot reach the target."""
    proxy = None if TUNNELS or target.url.scheme != "https" else target.proxy()
    if proxy is not None:
        raise ValueError(
            f"host is https://{target.url.hostname}, through the proxy {proxy.hostname}; asyncio speaks TLS through a proxy"
            f" from Python 3.11 on, and this is {sys.version_info[0]}.{sys.version_info[1]}: use Client, or pass"
            " proxies={} to go without a proxy"
        )


class AsyncTransport:
    """Sends one request at a time, on the loop that calls it. Cancelling `send` closes the connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._reader: Optional[asyncio.StreamReader] = None
        self._writer: Optional[asyncio.StreamWriter] = None
        self._sent: Optional[bool] = None  # the request under way, wholly; None: there is no connection yet
        self._prefix = ""
        self._extra: dict[str, str] = {}
        self._context: Optional[ssl.SSLContext] = None

    async def send(self, body: bytes, attempts: int) -> Answer:
        """Send one request; whatever keeps an answer from coming is an Answer with status 0."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return await asyncio.wait_for(self._send(body, attempts), self._target.timeout)
        except asyncio.TimeoutError:
            why, late = f"no answer within {self._target.timeout} s", True
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            why, late = f"{type(error).__name__}: {error}", isinstance(error, TimeoutError)
        except BaseException:  # cancelled: the answer must not be read by the next request
            self.close()
            raise
        self.close()
        return lost(why, too_much=may_be_too_much(self._sent, clock() - began, timed_out=late))

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            try:
                writer.close()
            except RuntimeError:  # its loop is closed already, and the socket with it
                return

    async def aclose(self) -> None:
        """Close the connection and wait until it is: TLS says goodbye, which takes the loop."""
        writer = self._writer
        self.close()
        if writer is not None:
            with suppress(OSError, asyncio.TimeoutError):  # the other side may be gone
                await asyncio.wait_for(writer.wait_closed(), _GOODBYE_S)

    async def _send(self, body: bytes, attempts: int) -> Answer:
        self._drop_stale()
        if self._writer is not None:
            try:
                return await self._exchange(body, attempts)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()  # the server had closed the kept connection: once more on a fresh one
        self._sent = None
        await self._open()
        return await self._exchange(body, attempts)

    def _drop_stale(self) -> None:
        """Close a kept connection on which something came unasked: the peer's close, or bytes that are no answer to us."""
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            return
        sock = writer.get_extra_info("socket")
        if _has_input(reader) or (
            sock is not None and readable(sock)
        ):  # read by the loop already, or still to be read
            self.close()

    async def _exchange(self, body: bytes, attempts: int) -> Answer:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            raise ConnectionError("not connected")
        url = self._target.url
        headers = {"Host": url.netloc.rpartition("@")[2], "Content-Length": str(len(body))}
        headers.update(self._target.headers(attempts), **self._extra)
        head = [
            f"POST {self._prefix}{self._target.path} HTTP/1.1",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        self._sent = False
        writer.transport.set_write_buffer_limits(0)  # so that `drain` returns when all is with the system
        writer.write((_CRLF.join(head) + _CRLF * 2).encode("latin-1") + body)
        try:
            await writer.drain()
            self._sent = True
        except ConnectionError:  # a server that refuses early may still have said why
            if reader.at_eof():
                raise
        return await self._answer(reader)

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        status, headers = await _head(reader)
        while 100 <= status < 200:
            status, headers = await _head(reader)
        length = headers.get("content-length")
        whole = True
        if status in (204, 304):
            body = b""
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body, whole = await _chunks(reader)
        elif length is not None:
            wanted = int(length)
            body = await reader.readexactly(min(wanted, MOST_ANSWER_BYTES))
            whole = wanted <= MOST_ANSWER_BYTES
        else:
            body, whole = await _rest(reader), False
        if not whole or "close" in headers.get("connection", "").lower():
            self.close()
        return Answer(status, headers, body)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:  # once: reading the system's authorities takes longer than the request
            self._context = self._target.context()
        return self._context

    async def _open(self) -> None:
        url, proxy = self._target.url, self._target.proxy()
        secure = url.scheme == "https"
        self._prefix, self._extra = "", {}
        host, port = url.hostname or "", url.port or (443 if secure else 80)
        if proxy is None:
            context = self._tls() if secure else None
            self._reader, self._writer = await asyncio.open_connection(host, port, ssl=context)
            return
        reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port or 80)
        self._reader, self._writer = reader, writer
        if not secure:
            self._prefix, self._extra = f"http://{url.netloc}", proxy_login(proxy)
            return
        lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
        lines.extend(f"{name}: {value}" for name, value in proxy_login(proxy).items())
        writer.write((_CRLF.join(lines) + _CRLF * 2).encode("latin-1"))
        status, _ = await _head(reader)
        if status != 200:
            raise ConnectionError(f"the proxy {proxy.hostname} answered HTTP {status}")
        if sys.version_info < (3, 11):
            raise ConnectionError(
                "asyncio speaks TLS through a proxy from Python 3.11 on; use Client, or no proxy"
            )
        await writer.start_tls(self._tls(), server_hostname=host)


def _has_input(reader: asyncio.StreamReader) -> bool:
    """Say whether a read would return at once, with bytes or the end, by beginning one."""
    read = reader.read(1)
    try:
        read.send(None)
    except (StopIteration, OSError):  # what it returns, or why the connection broke
        return True
    read.close()  # it waits
    return False


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split(_CRLF)
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"no HTTP answer: {first[:80]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return int(rest[:3]), headers


async def _rest(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) < MOST_ANSWER_BYTES:
        part = await reader.read(65_536)
        if not part:
            break
        body += part
    return body


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    body = b""
    while len(body) <= MOST_ANSWER_BYTES:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size == 0:
            while (await reader.readline()).strip():
                pass  # a trailer
            return body, True
        body += await reader.readexactly(min(size, MOST_ANSWER_BYTES))
        if size > MOST_ANSWER_BYTES:
            break
        await reader.readexactly(2)
    return body, False
