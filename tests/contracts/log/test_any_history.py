"""Any history of appends, reads, commits, claims, transactions and crashes agrees with a model of three dictionaries."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from headwater.errors import Fenced, LogUnavailable
from headwater.log.protocol import Consumer, Entry, Log, Owner, Position, Record, TopicPartition
from headwater.log.topics import ACCEPTED, PROCESSED, PROCESSOR_GROUP
from tests.contracts.log.harness import IMPLEMENTATIONS, IN, Harness, maker_of, read_all, values

T = TypeVar("T")
GROUP = "destination.model"
PARTITION = st.integers(0, 1)
PAYLOADS = st.lists(st.binary(max_size=30), min_size=1, max_size=5)


class LogHistory(RuleBasedStateMachine):
    """Runs each step on the log and on the model; `make` is set by the test."""

    make: Callable[[Path], Harness]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="headwater-log-"))
        self.harness: Harness = type(self).make(self.folder)
        self.written: dict[TopicPartition, list[bytes]] = {}
        self.positions: dict[tuple[str, TopicPartition], Position] = {}
        self.owners: dict[TopicPartition, list[Owner]] = {}
        self.consumer: Consumer | None = None
        self.polled: dict[TopicPartition, list[bytes]] = {}

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Do it on the machine's loop."""
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        """Open an empty log."""
        self.log: Log = self.run(self.harness.open())

    @rule(partition=PARTITION, payloads=PAYLOADS)
    def append(self, partition: int, payloads: list[bytes]) -> None:
        """Write records and be told that they are durable."""
        self.run(self.log.append([Entry(ACCEPTED, partition, Record(value)) for value in payloads]))
        self.written.setdefault(TopicPartition(ACCEPTED, partition), []).extend(payloads)

    @rule(partition=PARTITION, payloads=PAYLOADS, turns=st.integers(0, 3))
    def crash_while_appending(self, partition: int, payloads: list[bytes], turns: int) -> None:
        """Die with an append under way: it is there whole, or a prefix of it is, or nothing; no earlier one is touched."""
        tp = TopicPartition(ACCEPTED, partition)

        async def both() -> bool:
            append = asyncio.create_task(self.log.append([Entry(*tp, Record(value)) for value in payloads]))
            for _ in range(turns):
                await asyncio.sleep(0)
            told = append.done()
            await self.harness.crash()
            with suppress(LogUnavailable):
                await append
            self.log = await self.harness.open()
            return told

        told = self.run(both())
        self.consumer, self.polled = None, {}
        before = self.written.get(tp, [])
        found = values(self.run(read_all(self.log, tp)))
        assert found[: len(before)] == before
        extra = found[len(before) :]
        assert extra == payloads[: len(extra)]
        assert not told or extra == payloads
        self.written[tp] = [value for value in found if value is not None]

    @rule()
    def restart(self) -> None:
        """Close in good order and open again."""
        self.run(self.harness.close())
        self.log = self.run(self.harness.open())
        self.consumer, self.polled = None, {}

    @rule(partition=PARTITION)
    def claim(self, partition: int) -> None:
        """Own an input partition; owners of earlier lives and claims stay around to try their luck."""
        tp = TopicPartition(ACCEPTED, partition)
        self.owners.setdefault(tp, []).append(self.run(self.log.claim(PROCESSOR_GROUP, tp)))

    @rule(partition=PARTITION, payloads=PAYLOADS, age=st.integers(0, 3), note=st.text(max_size=5))
    def transact(self, partition: int, payloads: list[bytes], age: int, note: str) -> None:
        """Commit as the newest owner, or be refused as an older one."""
        tp, out = TopicPartition(ACCEPTED, partition), TopicPartition(PROCESSED, partition)
        owners = self.owners.get(tp, [])
        if age >= len(owners):
            return
        transaction = owners[-1 - age].begin()
        transaction.append(*out, [Record(value) for value in payloads])
        position = Position(len(self.written.get(out, [])), note)
        transaction.advance(tp, position)
        try:
            self.run(transaction.commit())
        except LogUnavailable:  # the owner belongs to an earlier life
            return
        except Fenced:
            refused = True
        else:
            refused = False
        assert refused == (age > 0)
        if refused:
            return
        self.written.setdefault(out, []).extend(payloads)
        self.positions[PROCESSOR_GROUP, tp] = position

    @rule()
    def poll(self) -> None:
        """Read as a group: it goes on where it was, without gaps."""
        if self.consumer is None:
            self.consumer = self.run(self.log.consumer(GROUP, [ACCEPTED]))
        for batch in self.run(self.consumer.poll(timeout=0)):
            stored = self.positions.get((GROUP, batch.tp), Position(0)).offset
            seen = self.polled.setdefault(batch.tp, [])
            seen += [record.value for record in batch.records if record.value is not None]
            assert seen == self.written[batch.tp][stored : stored + len(seen)]

    @rule(partition=PARTITION, note=st.text(max_size=5))
    def commit(self, partition: int, note: str) -> None:
        """Store how far the group has read; it then counts from there when it joins again."""
        tp = TopicPartition(ACCEPTED, partition)
        if self.consumer is None:
            return
        stored = self.positions.get((GROUP, tp), Position(0)).offset
        position = Position(stored + len(self.polled.get(tp, [])), note)
        self.run(self.consumer.commit({tp: position}))
        self.positions[GROUP, tp] = position
        self.polled[tp] = []

    @invariant()
    def agrees(self) -> None:
        """Records, positions and lag are the model's."""
        if not hasattr(self, "log"):
            return
        for tp, expected in self.written.items():
            assert values(self.run(read_all(self.log, tp))) == expected
        for (group, tp), position in self.positions.items():
            assert self.run(self.log.committed(group, tp)) == position
        first, _ = self.run(self.log.lag(GROUP, [ACCEPTED]))
        unread = self.written.get(IN, [])[self.positions.get((GROUP, IN), Position(0)).offset :]
        assert first.events == len(unread)

    def teardown(self) -> None:
        """Close and tidy up."""
        if hasattr(self, "log"):
            self.run(self.harness.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)


EXAMPLES = {
    "memory": (40, 25),
    "spooled": (15, 25),
    "sqlite": (15, 25),
    "kafka": (3, 12),
}  # and steps of each


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
def test_any_history_agrees_with_the_model(kind: str, request: pytest.FixtureRequest) -> None:
    """Hypothesis looks for a sequence of steps after which the log and the model differ."""
    machine = type("LogHistory", (LogHistory,), {"make": staticmethod(maker_of(kind, request))})
    examples, steps = EXAMPLES[kind]
    budget = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=(Phase.generate,)
        if kind == "kafka"
        else tuple(Phase),  # each example takes seconds, so none is shrunk
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=budget)
