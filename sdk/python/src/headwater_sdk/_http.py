"""HTTP over one kept connection with `http.client`, for threads and synchronous use. `_ahttp` is its twin for asyncio."""

from __future__ import annotations

import time

from headwater_sdk._answers import Answer, lost, may_be_too_much
from headwater_sdk._reading import Deadline
from headwater_sdk._record import NamedTuple
from headwater_sdk._version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    import socket
    import ssl
    from typing import Callable, Optional
    from urllib.parse import SplitResult

MOST_ANSWER_BYTES = 1 << 20


class Target(NamedTuple):
    """Where requests go and what every one of them carries."""

    url: SplitResult
    write_key: str
    gzip: bool = False
    timeout: float = 15.0
    proxies: Optional[dict[str, str]] = None
    ssl_context: Optional[ssl.SSLContext] = None

    def headers(self, attempts: int) -> dict[str, str]:
        """Return the headers of a request after so many failed attempts."""
        from base64 import b64encode

        headers = {
            "Content-Type": "application/json",
            "Authorization": "Basic " + b64encode(f"{self.write_key}:".encode()).decode(),
            "User-Agent": f"headwater-python/{VERSION}",
        }
        if self.gzip:
            headers["Content-Encoding"] = "gzip"
        if attempts:
            headers["X-Retry-Count"] = str(attempts)
        return headers

    @property
    def path(self) -> str:
        """Return the path of the batch route under the host's own path."""
        return self.url.path.rstrip("/") + "/v1/batch"

    def body(self, events: list[bytes], sent_at: str) -> bytes:
        """Return the request's body, compressed where that is asked for."""
        import json

        tail = f'],"sentAt":"{sent_at}","writeKey":{json.dumps(self.write_key)}}}'
        body = b'{"batch":[' + b",".join(events) + tail.encode()
        if self.gzip:
            import gzip

            return gzip.compress(body, compresslevel=6)
        return body

    def context(self) -> ssl.SSLContext:
        """Return how TLS is spoken."""
        import ssl

        return self.ssl_context or ssl.create_default_context()

    def proxy(self) -> Optional[SplitResult]:
        """Return the proxy for this target: the one configured, else what the environment says."""
        from urllib.parse import urlsplit

        if self.proxies is not None:
            found = self.proxies.get(self.url.scheme) or self.proxies.get("all")
        else:
            from urllib.request import getproxies, proxy_bypass

            named = getproxies()
            found = named.get(self.url.scheme) or named.get("all")
            if found and proxy_bypass(self.url.hostname or ""):
                found = None
        if not found:
            return None
        return urlsplit(found if "://" in found else f"http://{found}")


class HttpTransport:
    """Sends one request at a time. A connection that the server closed meanwhile is replaced at once."""

    def __init__(self, target: Target, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._target = target
        self._deadline = Deadline(monotonic)
        self._connection: Optional[http.client.HTTPConnection] = None
        self._sent: Optional[bool] = None  # the request under way, wholly; None: there is no connection yet
        self._prefix = ""  # of the request's path: a plain proxy wants the whole URL
        self._extra: dict[str, str] = {}
        self._context: Optional[ssl.SSLContext] = None

    def send(self, body: bytes, attempts: int, within: Optional[float] = None) -> Answer:
        """Send one request; whatever keeps an answer from coming is an Answer with status 0.

        `within` shortens the target's timeout, for a caller who cannot wait so long.
        """
        import http.client

        self._drop_stale()
        reused = self._connection is not None
        limit = self._target.timeout if within is None else min(within, self._target.timeout)
        self._deadline.begin(limit)
        try:
            return self._exchange(body, attempts)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            if not reused:
                return self._lost(error)
            self.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return self._lost(error)
        except (
            BaseException
        ):  # KeyboardInterrupt in synchronous mode: the answer must not be read by the next request
            self.close()
            raise
        return self.send(
            body, attempts, within
        )  # the server had closed the kept connection; now it is a fresh one

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    __del__ = close  # a synchronous client that is just dropped leaves no open socket behind

    def _lost(self, error: Exception) -> Answer:
        import socket

        self.close()
        late = isinstance(error, (TimeoutError, socket.timeout))  # which are one from Python 3.10 on
        too_much = may_be_too_much(self._sent, self._deadline.took(), timed_out=late)
        return lost(f"{type(error).__name__}: {error}", too_much=too_much)

    def _drop_stale(self) -> None:
        """Close a kept connection on which something came unasked: the peer's close, or bytes that are no answer to us."""
        sock = None if self._connection is None else self._connection.sock
        if sock is not None and readable(sock):
            self.close()

    def _exchange(self, body: bytes, attempts: int) -> Answer:
        connection = self._connected()
        headers = {**self._target.headers(attempts), **self._extra}
        self._sent = False
        try:
            connection.request("POST", self._prefix + self._target.path, body, headers)
            self._sent = True
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server that refuses early may still have said why: read it
        response = connection.getresponse()
        if self._deadline.ended:
            raise ConnectionError("the answer broke off within its headers")
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            self._read(response),
        )
        if response.will_close or len(answer.body) >= MOST_ANSWER_BYTES:
            self.close()
        else:
            response.close()  # read to its end: the connection is free for the next request
        return answer

    def _connected(self) -> http.client.HTTPConnection:
        self._sent = None
        connection = self._connection
        if connection is None:
            connection = self._connection = self._open()
        if connection.sock is None:
            connection.timeout = self._deadline.left()
            connection.connect()
        connection.sock.settimeout(self._deadline.left())
        return connection

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:  # once: reading the system's authorities takes longer than the request
            self._context = self._target.context()
        return self._context

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        import http.client

        parts: list[bytes] = []
        size = 0
        while size < MOST_ANSWER_BYTES:
            part = response.read1(65_536)
            if not part:
                if response.length:
                    raise http.client.IncompleteRead(b"".join(parts), response.length)
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _open(self) -> http.client.HTTPConnection:
        import http.client

        url, proxy = self._target.url, self._target.proxy()
        self._prefix, self._extra = "", {}
        via = proxy or url
        connection: http.client.HTTPConnection
        if url.scheme == "https":
            connection = http.client.HTTPSConnection(via.hostname or "", via.port, context=self._tls())
            if proxy is not None:
                connection.set_tunnel(url.hostname or "", url.port or 443, headers=proxy_login(proxy))
        else:
            connection = http.client.HTTPConnection(via.hostname or "", via.port)
            if proxy is not None:
                self._prefix, self._extra = f"http://{url.netloc}", proxy_login(proxy)
        connection.response_class = self._deadline.response  # type: ignore[assignment] # it is only called
        return connection


def readable(sock: socket.socket) -> bool:
    """Say whether something came on a connection, its end included, without reading it."""
    import select

    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()  # `select` refuses a file number above 1,023
    try:
        poll.register(sock, select.POLLIN)
    except ValueError:  # closed
        return True
    return bool(poll.poll(0))


def proxy_login(proxy: SplitResult) -> dict[str, str]:
    """Return the header that logs in at the proxy, where its URL says who."""
    if proxy.username is None:
        return {}
    from base64 import b64encode
    from urllib.parse import unquote

    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + b64encode(login.encode()).decode()}
