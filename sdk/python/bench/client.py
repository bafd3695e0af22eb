"""One measurement of one client in a process of its own: `python client.py SDK WHAT [HOST]` prints JSON.

Both clients are created as an application does, with their own defaults but for a queue that holds all events.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

EVENTS = 50_000
QUEUED = 100_000
OUTAGE_EVENTS = 10_000
BURST = 100


def create(name: str, host: str) -> Any:
    """Return a client; the write key is that of a running server of the tests."""
    if name == "segment":
        from segment.analytics.client import Client as Segment

        return Segment("wk_api", host=host, max_queue_size=1_000_000)
    from headwater_sdk import Client

    return Client("wk_api", host, max_queue_size=1_000_000, max_queue_bytes=1 << 30)


def track(client: Any, number: int) -> None:
    """Make an event as applications do: about 600 bytes as it is sent."""
    client.track(
        f"user-{number % 1000}",
        "Order Completed",
        {
            "orderId": f"order-{number}",
            "total": 59.9,
            "currency": "EUR",
            "coupon": None,
            "products": [
                {"sku": "a-1", "name": "Notebook", "price": 19.95, "quantity": 2},
                {"sku": "b-2", "name": "Pen", "price": 20, "quantity": 1},
            ],
        },
        {"ip": "192.0.2.1", "groupId": "acme"},
    )


def resident_mb() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def call(name: str, host: str) -> dict[str, float]:
    """Measure what a call keeps its caller, while a request waits for a silent server."""
    client = create(name, host)
    track(client, 0)
    time.sleep(1)  # the thread of each is in its first request now
    times = []
    for burst in range(100):
        began = time.perf_counter()
        for number in range(burst * BURST, (burst + 1) * BURST):
            track(client, number)
        times.append((time.perf_counter() - began) / BURST * 1e6)
    return {"call_us": statistics.median(times[20:])}


def memory(name: str, host: str) -> dict[str, float]:
    """Measure the memory that 100,000 queued events add, and the whole process's; the server is silent."""
    client = create(name, host)
    track(client, 0)
    time.sleep(1)
    gc.collect()
    before = resident_mb()
    for number in range(QUEUED):
        track(client, number)
    after = resident_mb()
    return {"rss_mb": after, "added_mb": after - before}


def throughput(name: str, host: str) -> dict[str, float]:
    """Measure events a second from the first call until the last answer, and this process's time for one."""
    client = create(name, host)
    cpu, began = time.process_time(), time.perf_counter()
    for number in range(EVENTS):
        track(client, number)
    client.flush()
    seconds = time.perf_counter() - began
    return {"events_s": EVENTS / seconds, "cpu_us": (time.process_time() - cpu) / EVENTS * 1e6}


def drain(name: str, host: str) -> dict[str, float]:
    """Send 10,000 events into an outage, and wait for their delivery; the server measures."""
    client = create(name, host)
    for number in range(OUTAGE_EVENTS):
        track(client, number)
    if name == "segment":
        client.flush()
    else:
        client.flush(None)
    return {}


def main() -> None:
    """Run what the command line names."""
    name, what, *rest = sys.argv[1:]
    measure = {"call": call, "memory": memory, "throughput": throughput, "drain": drain}[what]
    found = measure(name, rest[0])
    print(json.dumps(found), flush=True)
    import os

    os._exit(0)  # what is still queued for the silent server is not waited for


if __name__ == "__main__":
    main()
