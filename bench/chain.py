"""CPU of each pure processor on realistic events: `python -m bench.chain`.

1,000 visitors of analytics.js pages and tracks of about 1.2 KB, a third of them known users of 50 accounts, one event in
twenty an identify or group call, 2 % bots. Medians of five rounds over the same records, in microseconds an event.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from bench.records import collected
from headwater import accepted
from headwater.event import Drop, Event, encode
from headwater.log.protocol import Record
from headwater.workspace.model import Account, Bots, Identity, Workspace
from processors import account, bots, identity
from processors.normalize import normalize
from processors.profiles import Profiles

AGENTS = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36"
    for major in range(100, 143)
]
BOT = "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"
WORKSPACE = Workspace.model_validate(
    {"workspace": "bench", "sources": {"web": {"kind": "browser", "write_keys": ["w"]}}}
)
REQUEST = 100
BATCH = 10  # requests the worker takes at once
Result = TypeVar("Result")
T0 = 1_780_000_000_000


class NoTable:
    """A state store that has nothing yet."""

    def get(self, key: bytes) -> bytes | None:
        """Nothing."""
        del key
        return None

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Nothing."""
        del prefix
        return iter(())


def body(rng: random.Random, number: int) -> dict[str, Any]:
    """One event as analytics.js sends it."""
    visitor = rng.randrange(1000)
    kind = rng.choices(("track", "page", "identify", "group"), (55, 40, 4, 1))[0]
    url = f"https://app.acme.example/projects/{visitor}/pricing?utm_source=newsletter"
    path = f"/projects/{visitor}/pricing"
    page = {"path": path, "referrer": "https://www.google.com/", "search": "?utm_source=newsletter",
            "title": "Pricing | Acme", "url": url}  # fmt: skip
    found: dict[str, Any] = {
        "timestamp": "2026-05-28T20:26:40.000Z", "integrations": {"Segment.io": True}, "type": kind,
        "anonymousId": f"3f0c8f0b-30c2-4df1-8a28-{visitor:012d}", "userId": f"user_{visitor}" if visitor % 3 == 0 else None,
        "context": {
            "page": page, "userAgent": BOT if rng.random() < 0.02 else rng.choice(AGENTS),
            "userAgentData": {"brands": [{"brand": "Chromium", "version": "142"}], "mobile": False, "platform": "Windows"},
            "locale": "en-US", "library": {"name": "analytics.js", "version": "npm:next-1.84.0"},
            "timezone": "Europe/Amsterdam", "campaign": {"source": "newsletter"},
        },
        "messageId": f"ajs-next-{T0 + number}-3f0c8f0b-30c2-4df1-8a28-1f3f2b1b7c11", "writeKey": "wk_web",
        "_metadata": {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []},
    }  # fmt: skip
    if kind == "track":
        found |= {
            "event": "Report Exported",
            "properties": {"format": "csv", "rows": rng.randrange(9999), "plan": "team"},
        }
    elif kind == "page":
        found |= {"name": "Pricing", "category": "Docs", "properties": page | {"category": "Docs"}}
    elif kind == "identify":
        found |= {
            "userId": f"user_{visitor}",
            "traits": {"email": f"u{visitor}@acme.example", "firstName": "Ada", "plan": "team"},
        }
    else:
        found |= {
            "userId": f"user_{visitor}",
            "groupId": f"acct_{visitor % 50}",
            "traits": {"name": "Acme", "plan": "team"},
        }
    return found


def request(rng: random.Random, first: int) -> Record:
    """What one request of `REQUEST` events becomes."""
    bodies = [
        json.dumps(body(rng, number), separators=(",", ":")).encode()
        for number in range(first, first + REQUEST)
    ]
    return collected(bodies, T0 + 200)


class Meter:
    """CPU by step, in ns."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = {}

    def timed(self, name: str, work: Callable[[], Result]) -> Result:
        """Run once and add the CPU used."""
        start = time.process_time_ns()
        result = work()
        self.spent[name] = self.spent.get(name, 0) + time.process_time_ns() - start
        return result


def passed(step: Callable[[Any], Event | Drop], events: list[Any]) -> list[Event]:
    """The events that a step lets through."""
    return [event for event in map(step, events) if isinstance(event, Event)]


def decoded(requests: list[Record]) -> list[Any]:
    """The events of some requests."""
    return [one for request in requests for one in accepted.read(request.value)]


def once(
    requests: list[Record], steps: dict[str, Callable[[Any], Event | Drop]], profiles: Profiles
) -> dict[str, int]:
    """All events through all steps, in batches as the worker takes them."""
    meter, scratch = Meter(), bytearray()
    for at in range(0, len(requests), BATCH):
        batch = requests[at : at + BATCH]
        found: list[Any] = meter.timed("decode", partial(decoded, batch))
        for name, step in steps.items():
            found = meter.timed(name, partial(passed, step, found))
        meter.timed("records", profiles.drain_records)
        meter.timed("encode", partial(list, map(partial(encode, scratch=scratch), found)))
    return meter.spent


def main(events: int = 20_000, rounds: int = 5) -> None:
    """Print one line for each step."""
    rng = random.Random(7)
    requests = [request(rng, first) for first in range(0, events, REQUEST)]
    table = NoTable()
    profiles = Profiles(table, table, table, table)
    steps: dict[str, Callable[[Any], Event | Drop]] = {
        "normalize": normalize,
        "bots": bots.build(Bots(), WORKSPACE),
        "identity": identity.build(Identity(), profiles),
        "account": account.build(Account(), profiles),
    }
    once(requests, steps, profiles)  # fills the caches
    found = [once(requests, steps, profiles) for _ in range(rounds)]
    medians = {name: statistics.median(spent[name] for spent in found) / 1000 / events for name in found[0]}
    print(
        f"{events} events of {sum(len(one.value or b'') for one in requests) // events} B, us of CPU an event"
    )
    for name, median in medians.items():
        print(f"  {name:10} {median:6.2f}")
    four = sum(medians[name] for name in steps)
    print(f"  {'all':10} {sum(medians.values()):6.2f}   (the four processors: {four:.2f})")


if __name__ == "__main__":
    main()
