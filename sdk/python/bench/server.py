"""A bare HTTP server that only counts events, so that what is measured is the client; a process of its own.

`python server.py [silent|OUTAGE_S]` prints its port. `silent` never answers. With an outage it answers 503 for that long
after the first request, then 200. At the end of its stdin it prints how many events came, how many of them twice, and how
long after the outage the last one did.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
MESSAGE_ID = re.compile(rb'"messageId": ?"([^"]+)"')
OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{"success":true}'
AWAY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class Counts:
    """What all connections have brought."""

    def __init__(self, outage_s: float) -> None:
        self.outage_s = outage_s
        self.bodies: list[bytes] = []  # looked into at the end only
        self.began = self.last = 0.0

    def answer(self, body: bytes) -> bytes:
        """Take a request's body; the answer."""
        now = time.monotonic()
        self.began = self.began or now
        if now - self.began < self.outage_s:
            return AWAY
        self.last = now
        self.bodies.append(body)
        return OK

    def summary(self) -> dict[str, float]:
        """Events, those among them that came again, seconds from the end of the outage to the last one."""
        ids = [each for body in self.bodies for each in MESSAGE_ID.findall(body)]
        after = self.last - self.began - self.outage_s
        return {"events": len(set(ids)), "again": len(ids) - len(set(ids)), "after_s": after}


class Connection(asyncio.Protocol):
    """One connection: requests with a Content-Length, one after the other."""

    def __init__(self, counts: Counts | None) -> None:
        self.counts = counts
        self.buffer = bytearray()
        self.end = 0  # of the request that is coming in, once its head is there
        self.head = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        if self.counts is None:
            return
        self.buffer += data
        while self._complete():
            body = bytes(self.buffer[self.head : self.end])
            del self.buffer[: self.end]
            self.end = 0
            assert isinstance(self.transport, asyncio.WriteTransport)
            self.transport.write(self.counts.answer(body))

    def _complete(self) -> bool:
        if not self.end and (head := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.buffer, 0, head)
            self.head = head + 4
            self.end = self.head + (int(length[1]) if length else 0)
        return bool(self.end) and len(self.buffer) >= self.end


async def main() -> None:
    """Serve until stdin ends."""
    what = sys.argv[1] if len(sys.argv) > 1 else "0"
    counts = None if what == "silent" else Counts(float(what))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counts), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    if counts is not None:
        print(json.dumps(counts.summary()))
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
