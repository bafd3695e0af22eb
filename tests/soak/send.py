"""A program that sends with `headwater_sdk`: `python send.py KIND HOST EVENT SIZE FIRST COUNT [SPILL_DIR]`.

Prints what its calls came to, by the SDK's own report. KIND `durable` instead writes each number as soon as its call has
returned, since it is to be killed; it ends with a report, too, where it may.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from headwater_sdk import AsyncClient, Client, FlushReport

PATIENCE_S = 300.0
TIMEOUT_S = 2.0
TOO_LARGE, TOO_LONG = 50, 75  # of each hundred events, that one: refused by the SDK, and by the collector


def message(event: str, number: int) -> dict[str, Any]:
    """The arguments of a call."""
    properties: dict[str, Any] = {"n": number, "plan": "team", "note": "ä€😀" * 20}
    if number % 100 == TOO_LARGE:
        properties["note"] = "x" * 40_000
    name = event + "x" * 1_100 if number % 100 == TOO_LONG else event
    return {"user_id": f"u{number % 500}", "event": name, "properties": properties}


def counts(called: int, reports: list[FlushReport]) -> dict[str, int]:
    """The sums of the reports."""
    return {
        "called": called,
        "delivered": sum(one.delivered for one in reports),
        "rejected": sum(one.rejected_count for one in reports),
        "dropped": sum(one.dropped_count for one in reports),
        "queued": reports[-1].queued,
    }


def blocking(host: str, event: str, size: int, numbers: range, spill_dir: str) -> dict[str, int]:
    """The background thread; a call waits while the queue is full."""
    client = Client(
        "wk_api", host, timeout=TIMEOUT_S, upload_size=size, overflow="block", max_queue_size=2_000
    )
    for number in numbers:
        client.track(**message(event, number))
    return counts(len(numbers), [client.shutdown(PATIENCE_S)])


def bounded(host: str, event: str, size: int, numbers: range, spill_dir: str) -> dict[str, int]:
    """A queue that is too small for the bursts: the oldest events are dropped, and reported."""
    client = Client("wk_api", host, timeout=TIMEOUT_S, upload_size=size, max_queue_size=150)
    for number in numbers:
        client.track(**message(event, number))
        if number % 250 == 0:
            time.sleep(0.2)
    return counts(len(numbers), [client.shutdown(PATIENCE_S)])


def on_a_loop(host: str, event: str, size: int, numbers: range, spill_dir: str) -> dict[str, int]:
    """asyncio, with a flush in between."""

    async def main() -> dict[str, int]:
        client = AsyncClient("wk_api", host, timeout=TIMEOUT_S, upload_size=size)
        reports = []
        for number in numbers:
            client.track(**message(event, number))
            if number % 1_000 == 999:
                reports.append(await client.flush(PATIENCE_S))
        reports.append(await client.close(PATIENCE_S))
        return counts(len(numbers), reports)

    return asyncio.run(main())


def durable(host: str, event: str, size: int, numbers: range, spill_dir: str) -> dict[str, int]:
    """Every event on disk before its call returns; then its number goes to stdout, in one write."""
    client = Client("wk_api", host, timeout=TIMEOUT_S, upload_size=size, durable=True, spill_dir=spill_dir)
    for number in numbers:
        taken, _ = client.track(**message(event, number))
        if taken:
            os.write(1, b"%d\n" % number)
        if number % 10 == 0:
            time.sleep(0.001)  # so that it is killed in the middle of its calls
    return counts(len(numbers), [client.shutdown(PATIENCE_S)])


KINDS: dict[str, Callable[[str, str, int, range, str], dict[str, int]]] = {
    "python": blocking,
    "python-bounded": bounded,
    "python-asyncio": on_a_loop,
    "python-durable": durable,
}


def main() -> None:
    """Command line."""
    kind, host, event, size, first, count, *rest = sys.argv[1:]
    numbers = range(int(first), int(first) + int(count))
    found = KINDS[kind](host, event, int(size), numbers, rest[0] if rest else "")
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
