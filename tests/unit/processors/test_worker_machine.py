"""A state machine over the worker: fetch, process, commit, rebalance, fence, crash, in any order; the books must balance.

Workers run on hosts with state folders of their own, which may be lost, or be of an earlier time when the host gets a
partition again. Zombies are workers that the group has given up and that go on later with what they had in hand.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from headwater.errors import HeadwaterError
from headwater.log.groups import Member
from headwater.log.protocol import Batch, Consumer, TopicPartition
from headwater.log.topics import ACCEPTED, PROCESSOR_GROUP
from headwater.state.memory import MemoryState
from processors import partition, worker
from processors.worker import Worker
from tests.support.rig import POISON, Rig, accepted

IDS = st.sampled_from("abcdefgh")
PEOPLE = st.sampled_from(["v1", "v2", "v3"])
HOSTS = 4  # two for workers, two for zombies


class WorkerMachine(RuleBasedStateMachine):
    """Up to two workers in one group on one log, and up to two zombies."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.serial = 0
        self.alive: list[tuple[Worker, Consumer]] = []
        self.zombies: list[tuple[Worker, list[Batch]]] = []
        self.disks: list[dict[int, MemoryState]] = [{} for _ in range(HOSTS)]
        self.hosts: dict[Worker, int] = {}

    def do(self, work: object) -> object:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(work)  # type: ignore[arg-type]

    @initialize(partitions=st.sampled_from([1, 2, 3]))
    def begin(self, partitions: int) -> None:
        """An empty log and one worker."""

        async def make() -> Rig:
            return Rig(partitions=partitions)

        self.rig: Rig = self.do(make())  # type: ignore[assignment]
        self.do(self.start(0))

    async def start(self, draw: int) -> None:
        """A worker on a host where none is, with whatever state that host has kept."""
        busy = {self.hosts[one] for one, _ in (*self.alive, *self.zombies)}
        free = [host for host in range(HOSTS) if host not in busy]
        host = free[draw % len(free)]
        self.rig.states = self.disks[host]
        one, consumer = await self.rig.start()
        self.hosts[one] = host
        self.alive.append((one, consumer))

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

    @rule(host=st.integers(0, HOSTS), steps=st.integers(0, 12), turning=st.booleans())
    def another_worker_joins(self, host: int, steps: int, turning: bool) -> None:
        """The group is dealt out anew, perhaps while the other worker is in the middle of a batch or of a rebuild."""
        if len(self.alive) < 2:
            self.do(self.join(host, steps if turning else None))

    async def join(self, host: int, steps: int | None) -> None:
        """Join `steps` turns of the loop after another worker has begun its turn; None: while it rests."""
        turn = None
        if steps is not None and self.alive:
            turn = asyncio.ensure_future(self.turn(*self.alive[0]))
            for _ in range(steps):
                await asyncio.sleep(0)
        await self.start(host)
        if turn is not None:
            await turn

    @rule(which=st.integers(0, 1))
    def a_worker_stops_without_a_word(self, which: int) -> None:
        """SIGSTOP, or a cut cable: the group gives it up, it does not know, and it has read on."""
        if which < len(self.alive) and len(self.zombies) < 2:
            one, consumer = self.alive.pop(which)
            self.do(self.stop(one, consumer))

    async def stop(self, one: Worker, consumer: Consumer) -> None:
        """Keep what it would work on next: the batches after its last commits."""
        assert isinstance(consumer, Member)
        batches = []
        for tp in list(one._opening):
            await one._give_up(tp)
        try:
            for tp, owned in list(one._open.items()):
                await one._guard(owned, owned.settle())
                if tp in one._open:
                    position = await self.rig.log.committed(PROCESSOR_GROUP, tp)
                    batches.append(await self.rig.log.read(tp, position.offset if position else 0))
        except HeadwaterError:
            await one._abandon_all()
        await consumer.group.drop([consumer])
        self.zombies.append((one, batches))

    @rule()
    def a_zombie_goes_on(self) -> None:
        """It commits what it had in hand, unless somebody else owns the partition now; then it finds out and leaves."""
        if self.zombies:
            self.do(self.wake(*self.zombies.pop(0)))

    async def wake(self, one: Worker, batches: list[Batch]) -> None:
        """As the worker's loop would, with batches it believes to be current."""
        try:
            for batch in batches:
                if batch.records and (owned := one._open.get(batch.tp)) is not None:
                    await one._guard(owned, owned.process(batch))
            for owned in list(one._open.values()):
                await one._guard(owned, owned.settle())
        except HeadwaterError:
            await one._abandon_all()
        await one.close()

    @rule(host=st.integers(0, HOSTS - 1))
    def a_state_folder_is_deleted(self, host: int) -> None:
        """Whoever has it open keeps what is deleted until it closes; the next one begins with nothing."""
        self.disks[host].clear()

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

    @rule(steps=st.integers(0, 12), keep=st.booleans(), which=st.integers(0, 1), host=st.integers(0, HOSTS))
    def everything_is_killed(self, steps: int, keep: bool, which: int, host: int) -> None:
        """SIGKILL in the middle of a turn; a new process starts, on the same disk or another."""
        self.do(self.kill(steps, keep, which))
        self.alive, self.zombies = [], []
        self.do(self.start(host))

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
        for one, _ in (*self.alive, *self.zombies):
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
        """Close what is alive, wake the zombies, drain with a fresh worker, check; then the state of every host."""
        self.rig.log.faults.release()  # a rule that failed half-way must not become a test that hangs
        for one, consumer in self.alive:
            await consumer.close()
            await one.close()
        for zombie in self.zombies:
            await self.wake(*zombie)
        self.rig.log.faults._planned.clear()
        await self.rig.finish()
        await self.rig.check()
        for disk in self.disks:
            self.rig.states = disk
            await self.rig.finish()
            await self.rig.finish()
            await self.rig.check_state(set(self.rig.serials.values()))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting, and a state that is written every few events."""
    monkeypatch.setattr(worker, "IDLE_S", 0.0)
    monkeypatch.setattr(worker, "BUSY_S", 0.0)
    monkeypatch.setattr(worker, "OPENING_S", 0.01)
    monkeypatch.setattr(partition, "FLUSH_KEYS", 3)


def test_any_order_of_events_failures_rebalances_and_kills_leaves_books_that_balance() -> None:
    """Nothing is lost or there twice, the totals add up, and the state of every host is the fold of the outputs."""
    run_state_machine_as_test(
        WorkerMachine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
