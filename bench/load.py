"""A load generator in a process of its own: keep-alive connections, events of about 1.2 KB, every messageId unique.

`python -m bench.load --port 8080 --connections 64 --batch 1 --seconds 10 [--rate 5000]` prints one JSON object: events and
requests answered with 200, other answers by status, seconds, latency percentiles in ms. Loopback only, bounded in time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import time
import uuid
from collections import Counter

import uvloop

from headwater.timestamps import iso

EVENT = (
    b'{"type":"track","event":"Report Viewed","messageId":"%b","anonymousId":"%b","timestamp":"%b","properties":'
    b'{"report":"weekly revenue","rows":4211,"filters":["region","plan"],"export":false,"duration_ms":182.5,'
    b'"owner":{"id":"u_8812","team":"growth"},"label":"%b"},"context":{"ip":"203.0.113.7","locale":"en-US","timezone":'
    b'"Europe/Amsterdam","userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, '
    b'like Gecko) Chrome/142.0.0.0 Safari/537.36","library":{"name":"analytics.js","version":"next-1.84.0"},"page":{"path":'
    b'"/app/reports","referrer":"https://app.example/app/home","search":"?tab=weekly","title":"Weekly revenue","url":'
    b'"https://app.example/app/reports?tab=weekly"},"campaign":{"name":"autumn-launch","source":"newsletter","medium":"email"},'
    b'"screen":{"width":1728,"height":1117,"density":2}},"integrations":{}}'
)
LABEL = b"x" * 220


class Generator:
    """Sends until the time is over; each connection has one request in flight."""

    def __init__(self, port: int, batch: int, key: str, visitors: int, rate: float | None) -> None:
        self.port, self.batch, self.key, self.rate = port, batch, key.encode(), rate
        self.visitors = [b"visitor-%d" % number for number in range(visitors)]
        self.prefix = uuid.uuid4().hex[:12].encode()
        self.numbers = itertools.count()
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.refusals: list[float] = []  # the same, of answers other than 200
        self.deadline = 0.0
        self.next_slot = 0.0

    def request(self) -> bytes:
        """One whole HTTP request."""
        now = iso(time.time_ns() // 1_000_000).encode()
        events = []
        for _ in range(self.batch):
            number = next(self.numbers)
            visitor = self.visitors[number % len(self.visitors)]
            events.append(EVENT % (b"%b-%d" % (self.prefix, number), visitor, now, LABEL))
        if self.batch == 1:
            path, body = b"/v1/t", events[0][:-1] + b',"writeKey":"%b","sentAt":"%b"}' % (self.key, now)
        else:
            body = b'{"batch":[%b],"writeKey":"%b","sentAt":"%b"}' % (b",".join(events), self.key, now)
            path = b"/v1/batch"
        return (
            b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (
                path,
                len(body),
                body,
            )
        )

    async def connection(self) -> None:
        """Send one request after the other."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while time.monotonic() < self.deadline:
                if self.rate is not None:
                    await self._slot()
                started = time.monotonic()
                writer.write(self.request())
                status = await _status(reader)
                taken = time.monotonic() - started
                self.latencies.append(taken)
                if status != 200:
                    self.refusals.append(taken)
                self.statuses[status] += 1
        finally:
            writer.close()

    async def _slot(self) -> None:
        assert self.rate is not None
        self.next_slot = max(self.next_slot + self.batch / self.rate, time.monotonic() - 0.2)
        delay = self.next_slot - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)

    async def run(self, connections: int, seconds: float) -> dict[str, object]:
        """The whole measurement."""
        started = time.monotonic()
        self.deadline = started + seconds
        self.next_slot = started
        await asyncio.gather(*(self.connection() for _ in range(connections)))
        elapsed = time.monotonic() - started
        usage = resource.getrusage(resource.RUSAGE_SELF)
        good = self.statuses[200]
        return {
            "events": good * self.batch,
            "requests": good,
            "other": {str(status): number for status, number in self.statuses.items() if status != 200},
            "seconds": round(elapsed, 3),
            "events_per_s": round(good * self.batch / elapsed),
            "generator_cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
            "p50_ms": _quantile_ms(self.latencies, 0.5),
            "p99_ms": _quantile_ms(self.latencies, 0.99),
            "refused_p50_ms": _quantile_ms(self.refusals, 0.5),
            "refused_p99_ms": _quantile_ms(self.refusals, 0.99),
        }


def _quantile_ms(seconds: list[float], quantile: float) -> float | None:
    ordered = sorted(seconds)
    return round(ordered[int(len(ordered) * quantile)] * 1000, 2) if ordered else None


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    at = head.lower().index(b"content-length:")
    await reader.readexactly(int(head[at + 15 : head.index(b"\r\n", at)]))
    return status


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument(
        "--rate", type=float, default=None, help="events a second; default: as fast as answered"
    )
    parser.add_argument("--visitors", type=int, default=10_000)
    parser.add_argument("--key", default="wk_web")
    options = parser.parse_args()
    generator = Generator(options.port, options.batch, options.key, options.visitors, options.rate)
    print(json.dumps(uvloop.run(generator.run(options.connections, options.seconds))))


if __name__ == "__main__":
    main()
