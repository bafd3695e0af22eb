"""Sends hostile records through the processors and writes down everything they answer, a line each.

    python -m tests.support.hostile.replay SEED EVENTS FILE

Which build answers is `PYTHONPATH`'s to say; of two builds the files must be equal, byte for byte (PYTHONHASHSEED=0).
"""

from __future__ import annotations

import re
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import chain as chain_of
from itertools import islice
from pathlib import Path
from random import Random
from zlib import crc32

from headwater import accepted
from headwater.errors import LogUnavailable, SchemaMismatch
from headwater.event import Accepted, Drop, Event, encode_accepted
from headwater.heading import Bare, Unreadable
from headwater.log.protocol import Record
from headwater.state.memory import MemoryState
from headwater.workspace.model import Workspace
from processors import batch
from processors.build import build
from processors.chain import Chain, Named
from processors.dedupe import Memory
from processors.normalize import Normalize
from processors.profiles import Profiles
from processors.totals import Triple
from tests.support.hostile import requests
from tests.support.hostile.news import News
from tests.support.hostile.records import records

TABLES = ("links", "users", "accounts", "memberships")
RAISED = (ZeroDivisionError, StopIteration, KeyError, RecursionError, MemoryError, UnicodeError)
STALE = re.compile(r" at \S*?(processors|headwater|tests)/")  # where the tree lies that a fault happened in

BOTS: dict[str, object] = {
    "allow_agents": ["Acme Probe"], "allow_networks": ["203.0.113.0/24"], "hosting_networks": ["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"],
    "keep_classes": ["monitoring"],
}  # fmt: skip
SETTINGS: tuple[dict[str, object], ...] = (
    {"bots": BOTS, "account": {"traits": ["name", "status"]}},
    {
        "bots": {**BOTS, "mode": "drop", "threshold": 20},
        "dedupe": {"window_days": 1},
        "account": {"traits": ["plan", "status", "é"]},
    },
    {"bots": {"mode": "shadow"}, "dedupe": {"enabled": False}, "account": {"infer": False}},
)


def workspace(processors: dict[str, object]) -> Workspace:
    """Sources of every kind, each with another mode of the bot filter."""
    sources = {
        "web": {"kind": "browser", "write_keys": ["w"]},
        "shop": {"kind": "browser", "write_keys": ["s"], "bots": "drop"},
        "api": {"kind": "server", "write_keys": ["a"]},
        "app": {"kind": "mobile", "write_keys": ["m"], "bots": "flag"},
        "quiet": {"kind": "browser", "write_keys": ["q"], "bots": "off"},
    }
    return Workspace.model_validate({"workspace": "acme", "sources": sources, "processors": processors})


def failing(event: Event) -> Event | Drop:
    """A step with bugs, each of another kind; and one whose log is away, which no event is to blame for."""
    if event.event == "Crash":
        raise RAISED[sum(map(ord, event.message_id)) % len(RAISED)](event.message_id)
    if event.event == "Outage":
        raise LogUnavailable("away")
    if event.event == "Unwritable":
        event.name = "\ud800"
        return Drop("unwritable") if event.message_id.endswith("1") else event
    return event


def broken(normalize: Normalize) -> Normalize:
    """A normalizer with a bug."""

    def step(one: Accepted | Bare) -> Event | Drop:
        found = normalize(one)
        if type(found) is not Drop and found.message_id.endswith("77"):
            raise KeyError(found)
        return found

    return step


class Replay:
    """A partition's processors, without its log."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._news = News(self._random)
        self._state = MemoryState()
        self._memory = Memory(self._state.seen)
        self._profiles = self._opened()
        self._bots: Counter[Triple] = Counter()
        self._seen: deque[tuple[bytes, bytes | None]] = deque(maxlen=50)  # records of the topic `profiles`

    def _opened(self) -> Profiles:
        return Profiles(*(self._state.table(name) for name in TABLES), cache_rows=25)

    def _chain(self) -> Chain:
        """New settings, as after a reload; at times as after a restart."""
        if self._random.random() < 0.3 and not self._memory.pending:
            self._memory, self._profiles = Memory(self._state.seen), self._opened()
        chain = build(workspace(self._random.choice(SETTINGS)), self._memory, self._profiles, self._bots)
        return Chain(broken(chain.normalize), (*chain.stages, (Named("failing", failing),)))

    def lines(self, values: Iterable[bytes | None]) -> Iterator[str]:
        """What comes of the records, in batches of a few."""
        chain = self._chain()
        found = iter(values)
        while taken := list(islice(found, self._random.randrange(1, 9))):
            yield from _worked(chain, [Record(value=value) for value in taken])
            yield f"whole {[_read(value) for value in taken]}"
            yield f"bots {sorted(self._bots.items())}"
            self._bots.clear()
            for _ in range(self._random.randrange(4)):
                yield self._folded()
            for record in self._profiles.drain_records():
                self._seen.append((record.key or b"", record.value))
                yield f"profile {record.key!r} {record.value!r}"
            if self._random.random() < 0.3:
                yield from self._committed()
                chain = self._chain() if self._random.random() < 0.2 else chain

    def _committed(self) -> Iterator[str]:
        puts, seen = self._profiles.drain_puts(), self._memory.drain()
        yield f"puts {puts!r}"
        yield f"seen {seen!r}"
        horizon = self._memory.horizon(7, self._random.randrange(20_000, 21_000))
        yield f"horizon {horizon}"
        self._state.commit(puts=puts, seen=seen.items(), folded={})

    def _folded(self) -> str:
        """News, or what was there before, our own too; or a link is undone."""
        if self._random.random() < 0.1:
            pair = f"a{self._random.randrange(40)}", f"u{self._random.randrange(90)}"
            return f"unlink {pair} {self._profiles.unlink(*pair, 1_767_400_000_000)}"
        key, value = (
            self._random.choice(self._seen)
            if self._seen and self._random.random() < 0.4
            else self._news.record()
        )
        self._seen.append((key, value))
        try:
            self._profiles.fold(key, value)
        except SchemaMismatch as error:
            return f"fold {key!r} {value!r} {error}"
        return f"fold {key!r} {value!r}"


def _read(value: bytes | None) -> int:
    """A sum over the events of a record, each with a header."""
    told = 0
    for one in accepted.read_whole(value):
        line = one.text + one.detail.encode() if isinstance(one, Unreadable) else encode_accepted(one)
        told = crc32(line, told)
    return told


def _worked(chain: Chain, taken: list[Record]) -> Iterator[str]:
    try:
        output = batch.work(taken, chain, "2026-01-01T00:00:00.000Z")
    except LogUnavailable as error:
        yield f"stopped {error}"
        return
    yield from (f"processed {line!r}" for line in output.processed)
    yield from (f"dropped {line!r}" for line in output.dropped)
    counts = output.counts
    yield f"counts {counts.accepted} {sorted(counts.processed.items())} {sorted(counts.dropped.items())}"
    yield f"records {[(record.events, len(record.value or b'')) for record in batch.records_of(output.processed)]}"
    for sentence, times in sorted(output.faults.items()):
        yield f"fault {times} " + STALE.sub(r" at \1/", sentence)


def told(seed: int, events: int) -> Iterator[str]:
    """What comes of half of the events sent to the collector, and of half written to the log by somebody else."""
    collected = list(requests.answers(seed, events // 2))
    yield from (f"answer {answer!r} {value!r}" for answer, value in collected)
    values = [value for _, value in collected if value is not None]
    yield from Replay(seed).lines(chain_of(values, records(seed, events - events // 2)))


def main(seed: int, events: int, file: Path) -> None:
    """Write the file."""
    with file.open("w", encoding="utf-8", errors="backslashreplace") as out:
        out.writelines(f"{line}\n" for line in told(seed, events))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
