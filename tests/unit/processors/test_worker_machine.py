"""A state machine over the worker: fetch, process, commit, rebalance, fence, crash, in any order; the books must balance."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from headwater.errors import HeadwaterError
from headwater.log.protocol import Consumer, TopicPartition
from headwater.log.topics import ACCEPTED, PROCESSOR_GROUP
from processors import partition, worker
from processors.worker import Worker
from tests.support.rig import POISON, Rig, accepted

IDS = st.sampled_from("abcdefgh")
PEOPLE = st.sampled_from(["v1", "v2", "v3"])


class WorkerMachine(RuleBasedStateMachine):
    """Up to two workers in one group on one log."""

    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.serial = 0
        self.alive: list[tuple[Worker, Consumer]] = []

    def do(self, work: object) -> object:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(work)  # type: ignore[arg-type]

    @initialize(partitions=st.sampled_from([1, 2]))
    def begin(self, partitions: int) -> None:
        """An empty log and one worker."""

        async def make() -> Rig:
            return Rig(partitions=partitions)

        self.rig: Rig = self.do(make())  # type: ignore[assignment]
        self.alive.append(self.do(self.rig.start()))  # type: ignore[arg-type]

    @rule(
        batch=st.lists(
            st.tuples(IDS, PEOPLE, st.sampled_from(["track", "identify", "poison"])), min_size=1, max_size=5
        )
    )
    def accept(self, batch: list[tuple[str, str, str]]) -> None:
        """Events arrive. A messageId always comes with the same person, as a retry does."""
        events = []
        for message, person, kind in batch:
            self.serial += 1
            events.append(
                accepted(
                    self.serial,
                    f"{message}-{person}",
                    anonymous_id=person,
                    user_id=f"user-{message}" if kind == "identify" else None,
                    kind="identify" if kind == "identify" else "track",
                    name=POISON if kind == "poison" else "Signed Up",
                )
            )
        self.do(self.rig.accept(events))

    @rule(which=st.integers(0, 1), seconds=st.sampled_from([0, 0, 1, 40]))
    def step(self, which: int, seconds: int) -> None:
        """One turn of a worker's loop; sometimes time has passed and the state is due."""
        self.rig.clock.advance(seconds)
        if which < len(self.alive):
            one, consumer = self.alive[which]
            self.do(self.turn(one, consumer))

    @staticmethod
    async def turn(one: Worker, consumer: Consumer) -> None:
        """As the worker's own loop does it: a failure throws everything away."""
        try:
            await one._once(consumer)
        except HeadwaterError:
            await one._abandon_all()

    @rule(written=st.booleans())
    def the_next_commit_fails(self, written: bool) -> None:
        """With or without having been written."""
        self.rig.log.faults.fail("transaction", written=written)

    @rule()
    def another_worker_joins(self) -> None:
        """The group is dealt out anew."""
        if len(self.alive) < 2:
            self.alive.append(self.do(self.rig.start()))  # type: ignore[arg-type]

    @rule(which=st.integers(0, 1))
    def a_worker_leaves(self, which: int) -> None:
        """In good order: its partitions are revoked."""
        if which < len(self.alive):
            one, consumer = self.alive.pop(which)
            self.do(consumer.close())
            self.do(one.close())

    @rule(number=st.integers(0, 1))
    def a_stranger_claims(self, number: int) -> None:
        """A fence is raised and its owner vanishes; the group is dealt out again some time later."""
        tp = TopicPartition(ACCEPTED, number % self.rig.partitions)
        self.do(self.rig.log.claim(PROCESSOR_GROUP, tp))
        for one, _ in self.alive:
            self.do(one.assigned([tp]))

    @rule(steps=st.integers(0, 12), keep=st.booleans(), which=st.integers(0, 1))
    def everything_is_killed(self, steps: int, keep: bool, which: int) -> None:
        """SIGKILL in the middle of a turn; a new process starts on the same disk."""
        self.do(self.kill(steps, keep, which))
        self.alive = [self.do(self.rig.start())]  # type: ignore[list-item]

    async def kill(self, steps: int, keep: bool, which: int) -> None:
        """Hold writes, let a worker run into them, then crash."""
        self.rig.log.faults.hold()
        turn = None
        if which < len(self.alive):
            turn = asyncio.ensure_future(self.turn(*self.alive[which]))
        for _ in range(steps):
            await asyncio.sleep(0)
        await self.rig.log.crash(keep_unacknowledged=keep)
        if turn is not None:
            await asyncio.wait([turn])
            turn.result()
        for one, _ in self.alive:
            await one._abandon_all()
        self.rig.log = self.rig.log.reopen()

    @invariant()
    def nothing_is_there_twice(self) -> None:
        """At every instant processed and dropped hold no event twice."""
        if hasattr(self, "rig"):
            self.do(self.no_repetition())

    async def no_repetition(self) -> None:
        """Serial numbers in both outputs are unique."""
        found = await self.rig.serials_out()
        assert len(found) == len(set(found))

    def teardown(self) -> None:
        """Let everything finish: what was accepted is there once, the totals add up, the state is the fold."""
        if hasattr(self, "rig"):
            self.do(self.balance())
        self.loop.close()

    async def balance(self) -> None:
        """Close what is alive, drain with a fresh worker, check."""
        for one, consumer in self.alive:
            await consumer.close()
            await one.close()
        self.rig.log.faults._planned.clear()
        await self.rig.finish()
        await self.rig.finish()
        await self.rig.check()
        await self.rig.check_state(set(self.rig.serials.values()))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting, and a state that is written every few events."""
    monkeypatch.setattr(worker, "IDLE_S", 0.0)
    monkeypatch.setattr(worker, "BUSY_S", 0.0)
    monkeypatch.setattr(partition, "FLUSH_KEYS", 3)


class TestWorker(WorkerMachine.TestCase):  # type: ignore[misc,valid-type]
    """Any order of events, turns, failures, fences and kills."""

    settings = settings(
        max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
