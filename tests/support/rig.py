"""A processor on a log in memory: accept events, step the worker, kill it, and read what came of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from msgspec import Raw

from headwater import codec, timestamps
from headwater.clock import ManualClock
from headwater.errors import LogUnavailable
from headwater.event import Accepted, Drop, Event, encode_accepted
from headwater.log.memory import MemoryLog
from headwater.log.protocol import Consumer, Entry, Lag, Record, TopicPartition
from headwater.log.topics import (
    ACCEPTED,
    DROPPED,
    PROCESSED,
    PROCESSOR_GROUP,
    PROFILES,
    TOTALS,
    event_key,
    partition_of,
)
from headwater.state.lmdb import discard, open_state
from headwater.state.memory import MemoryState
from headwater.state.protocol import StateStore
from headwater.workspace.live import LiveWorkspace
from headwater.workspace.model import Workspace
from processors import totals
from processors.build import build
from processors.chain import Chain, Named
from processors.dedupe import Memory, fingerprint
from processors.partition import Resources
from processors.profiles import Profiles
from processors.totals import Totals, Triple
from processors.worker import Worker

DRAIN_S = 60.0
POISON = "poison"  # events of this name make the last step of the rig's chain raise
TABLES = ("links", "users", "accounts", "memberships")
CLOCK_MS = 1_750_000_000_000


def workspace(**processors: object) -> Workspace:
    """A small workspace."""
    return Workspace.model_validate(
        {
            "workspace": "acme",
            "sources": {"web": {"kind": "browser", "write_keys": ["wk_web"]}},
            "processors": processors,
        }
    )


def accepted(
    serial: int,
    message_id: str,
    *,
    anonymous_id: str = "anon",
    user_id: str | None = None,
    kind: str = "track",
    name: str = "Signed Up",
    received_ms: int = CLOCK_MS,
) -> Accepted:
    """An accepted event; `serial` tells copies of the same messageId apart."""
    body = {"event": name, "properties": {"serial": serial}, "traits": {"serial": serial}}
    return Accepted(
        source_id="web",
        channel="browser",
        type=kind,
        message_id=message_id,
        received_at=timestamps.iso(received_ms),
        timestamp=timestamps.iso(received_ms - 1000),
        anonymous_id=anonymous_id,
        user_id=user_id,
        body=Raw(codec.dumps(body)),
    )


def failing(workspace: Workspace, memory: Memory, profiles: Profiles, bots: Counter[Triple]) -> Chain:
    """The real chain with a step at its end that has a bug."""
    chain = build(workspace, memory, profiles, bots)

    def step(event: Event) -> Event | Drop:
        if event.event == POISON:
            raise ZeroDivisionError(event.message_id)
        return event

    return Chain(chain.normalize, (*chain.stages, (Named("failing", step),)))


@dataclass
class Rig:
    """One log, the states of its partitions, and the worker that is alive, if any."""

    partitions: int = 1
    live: LiveWorkspace = field(default_factory=lambda: LiveWorkspace(workspace()))
    clock: ManualClock = field(default_factory=lambda: ManualClock(CLOCK_MS))
    open_state: Callable[[int, str], StateStore] | None = None
    discard_state: Callable[[int, str], None] | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    states: dict[int, MemoryState] = field(default_factory=dict)
    serials: dict[int, str] = field(default_factory=dict)  # everything accepted: serial to messageId

    def __post_init__(self) -> None:
        self.log = MemoryLog(self.partitions, self.clock)

    @property
    def resources(self) -> Resources:
        """What a worker of this rig shares."""
        states = self.states

        def keep(number: int, _log_id: str) -> StateStore:
            return states.setdefault(number, MemoryState())

        def forget(number: int, _why: str) -> None:
            states.pop(number, None)

        return Resources(
            self.live, self.log, self.clock, failing, self.open_state or keep, self.discard_state or forget
        )

    def on_disk(self, folder: Path) -> Rig:
        """This rig with LMDB states below a folder."""
        self.open_state = lambda number, log_id: open_state(folder / str(number), log_id, sync=False)
        self.discard_state = lambda number, why: discard(folder / str(number), why)
        return self

    async def accept(self, events: Iterable[Accepted], lines: Iterable[bytes] = ()) -> None:
        """Append events, one record a partition, as the collector does; `lines` go to partition 0 as they are."""
        by_partition: dict[int, list[bytes]] = {}
        for one in events:
            number = partition_of(event_key(one.anonymous_id, one.user_id), self.partitions)
            by_partition.setdefault(number, []).append(encode_accepted(one))
            self.serials[codec.loads(bytes(one.body))["properties"]["serial"]] = one.message_id
        by_partition.setdefault(0, []).extend(lines)
        await self.log.append(
            [
                Entry(ACCEPTED, number, Record(b"\n".join(found), events=len(found)))
                for number, found in by_partition.items()
                if found
            ]
        )

    async def start(self) -> tuple[Worker, Consumer]:
        """A worker of the group `processor`."""
        worker = Worker(self.resources, self.stop)
        return worker, await self.log.consumer(PROCESSOR_GROUP, [ACCEPTED], worker)

    async def crash(self, worker: Worker, *, keep_unacknowledged: bool = False) -> None:
        """Kill log and worker; `self.log` is then the log of the next process."""
        await self.log.crash(keep_unacknowledged=keep_unacknowledged)
        await worker._abandon_all()
        self.log = self.log.reopen()

    async def drain(self, worker: Worker, consumer: Consumer) -> None:
        """Step the worker until everything accepted is committed."""
        behind: list[Lag] = []
        give_up = time.monotonic() + DRAIN_S
        while time.monotonic() < give_up:
            await worker._once(consumer)
            behind = await self.log.lag(PROCESSOR_GROUP, [ACCEPTED])
            if not worker._opening and not any(lag.events for lag in behind):
                for partition in worker._open.values():
                    await partition.settle()
                return
        raise AssertionError(f"still behind: {behind}")

    async def finish(self) -> None:
        """Let a fresh worker do what is left and close it."""
        worker, consumer = await self.start()
        await self.drain(worker, consumer)
        await worker.close()
        await consumer.close()

    async def lines(self, topic: str) -> list[dict[str, object]]:
        """Every event line of a topic."""
        return [
            codec.loads(line)
            for record in await self.records(topic)
            for line in (record.value or b"").split(b"\n")
        ]

    async def records(self, topic: str) -> list[Record]:
        """Every record of a topic."""
        found: list[Record] = []
        for number in range(self.log.partitions(topic)):
            tp = TopicPartition(topic, number)
            begin, _ = await self.log.bounds(tp)
            found.extend((await self.log.read(tp, begin, max_bytes=1 << 30)).records)
        return found

    async def serials_out(self) -> list[int]:
        """The serial numbers in processed and dropped."""
        processed = [serial_of(one) for one in await self.lines(PROCESSED)]
        return processed + [serial_of(one["event"]) for one in await self.lines(DROPPED)]

    async def totals(self) -> dict[int, Totals]:
        """The newest totals of each partition."""
        newest = {record.key: record.value for record in await self.records(TOTALS)}
        decoded = [totals.decode(value) for value in newest.values() if value]
        return {one.partition: one for one in decoded}

    async def check(self) -> None:
        """The books: every accepted event once in processed or dropped, one per messageId processed, totals exact."""
        processed = [serial_of(one) for one in await self.lines(PROCESSED)]
        dropped = await self.lines(DROPPED)
        refused = [serial_of(one["event"]) for one in dropped if one["reason"] != "undecodable"]
        assert Counter(processed + refused) == Counter(dict.fromkeys(self.serials, 1))
        assert {self.serials[serial] for serial in refused} >= {
            message for message, n in Counter(self.serials.values()).items() if n > 1
        }
        admitted = processed + [
            serial_of(one["event"]) for one in dropped if one["reason"] == "processor_error"
        ]
        assert Counter(self.serials[serial] for serial in admitted) == Counter(set(self.serials.values()))
        counted = (await self.totals()).values()
        assert sum(one.accepted for one in counted) == len(processed) + len(dropped)
        assert sum(n for one in counted for kinds in one.processed.values() for n in kinds.values()) == len(
            processed
        )
        assert sum(n for one in counted for kinds in one.dropped.values() for n in kinds.values()) == len(
            dropped
        )

    async def check_state(self, message_ids: Iterable[str]) -> None:
        """The state kept while working equals one folded from the outputs alone."""
        kept, self.states = self.states, {}
        await self.finish()
        prints = [fingerprint("web", one) for one in {*message_ids, "never-sent"}]
        for number in range(self.partitions):
            for table in TABLES:
                assert dict(kept[number].table(table).items()) == dict(
                    self.states[number].table(table).items()
                )
            assert kept[number].seen.contains(prints, 0) == self.states[number].seen.contains(prints, 0)
        for topic in (PROCESSED, DROPPED, PROFILES):
            tp = TopicPartition(topic, 0)
            assert self.states[0].folded(tp) <= (await self.log.bounds(tp)).end


def serial_of(line: object) -> int:
    """The serial number of an event in its accepted or processed form."""
    value = msgspec.convert(line, dict[str, object], strict=False)
    shape = value.get("body", value)
    assert isinstance(shape, dict)
    for body in (shape.get("properties"), shape.get("traits")):
        if isinstance(body, dict) and "serial" in body:
            return int(body["serial"])
    raise AssertionError(f"no serial in {value}")


__all__ = ["POISON", "LogUnavailable", "Rig", "accepted", "failing", "replace", "serial_of", "workspace"]
