"""The partitions that one process of a destination has, each with its lane.

The processes of a destination are members of its consumer group, which deals out the processed topic and the retry tiers.
A partition that comes is claimed (whoever had it before can commit no more), its counts are read, then its lane begins. One
that goes away is finished first, for a bounded time: what is under way then is given up, and sent again by whoever gets it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from destinations.kit.books import Books, Page
from destinations.kit.lane import Lane
from headwater.errors import Fenced
from headwater.log.protocol import Consumer, Log, Owner, TopicPartition
from headwater.log.topics import DESTINATION_GROUP_PREFIX

logger = logging.getLogger(__name__)

REVOKE_S = 15.0  # for what is under way when a partition goes away; Kafka allows members 30 s in all
FENCED_S = 45.0  # longer than a group takes to deal its partitions out anew
LOOK_S = 1.0  # how often the group is asked whether it still works

LaneOf = Callable[[Page], Lane]
Grace = Callable[[], float]


@dataclass(slots=True)
class _Running:
    page: Page
    task: asyncio.Task[None]
    stop: asyncio.Event


@dataclass(slots=True)
class _Lost:
    """A partition whose fence somebody else has raised, until the group says whose it is."""

    error: Fenced
    since: float = field(default_factory=lambda: asyncio.get_running_loop().time())


class Share:
    """Opens and closes lanes as partitions come and go. A `Listener` of its consumer; run once."""

    def __init__(self, books: Books, log: Log, topics: Sequence[str], lane_of: LaneOf, grace: Grace) -> None:
        self._books, self._log, self._topics = books, log, topics
        self._lane_of, self._grace = lane_of, grace
        self._group = DESTINATION_GROUP_PREFIX + books.name
        self._fresh: set[TopicPartition] = set()
        self._lanes: dict[TopicPartition, _Running] = {}
        self._lost: dict[TopicPartition, _Lost] = {}
        self._turn = asyncio.Lock()  # no partition goes away while it is being opened
        self._changed = asyncio.Event()

    @property
    def held(self) -> frozenset[TopicPartition]:
        """The partitions whose lanes run here."""
        return frozenset(self._lanes)

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """These are ours; they are claimed by the next turn."""
        self._fresh.update(partitions)
        for tp in partitions:
            self._lost.pop(tp, None)
        self._changed.set()

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finish what is under way, or give it up after a while; let go."""
        async with self._turn:
            self._fresh.difference_update(partitions)
            await self._close(partitions, min(self._grace(), REVOKE_S))

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, finish what is under way, leave the group. Raises what the log raises."""
        consumer: Consumer | None = None
        try:
            consumer = await self._log.consumer(self._group, self._topics, self)
            while not stop.is_set():
                self._changed.clear()
                await self._open()
                await self._look(consumer, stop)
                await self._check()
        finally:
            async with self._turn:
                await self._close(list(self._lanes), self._grace() if stop.is_set() else 0.0)
            if consumer is not None:
                await consumer.close()

    async def _open(self) -> None:
        """Raise the fences of what came, read its counts, begin its lanes."""
        async with self._turn:
            coming, owners = set(self._fresh), dict[TopicPartition, Owner]()
            try:
                for tp in sorted(coming - self._lanes.keys()):
                    owners[tp] = await self._log.claim(self._group, tp)
                pages = await self._books.open(owners) if owners else {}
            except BaseException:
                for owner in owners.values():
                    await owner.close()
                raise
            self._fresh -= coming
            for tp, page in pages.items():
                self._begin(tp, page)

    def _begin(self, tp: TopicPartition, page: Page) -> None:
        stop = asyncio.Event()
        lane = self._lane_of(page)
        task = asyncio.create_task(lane.run(stop), name=f"lane {tp.topic}[{tp.partition}]")
        task.add_done_callback(lambda _: self._changed.set())
        self._lanes[tp] = _Running(page, task, stop)

    async def _look(self, consumer: Consumer, stop: asyncio.Event) -> None:
        """Sleep until something changes. The lanes read by themselves: the group only tells whose the partitions are."""
        consumer.pause(consumer.assignment())
        tasks = [asyncio.create_task(work) for work in (stop.wait(), self._changed.wait())]
        polling = asyncio.create_task(consumer.poll(max_bytes=1, timeout=LOOK_S))
        try:
            await asyncio.wait((*tasks, polling), return_when=asyncio.FIRST_COMPLETED)
            if polling.done():
                polling.result()
        finally:
            for task in (*tasks, polling):
                task.cancel()
            await asyncio.gather(*tasks, polling, return_exceptions=True)

    async def _check(self) -> None:
        """Let go of what somebody else has claimed; raise any other failure of a lane."""
        async with self._turn:
            for tp, running in list(self._lanes.items()):
                if not running.task.done():
                    continue
                if (error := running.task.exception()) is None:
                    continue
                if (fenced := _fence_in(error)) is None:
                    raise error
                logger.warning("destination %s: %s", self._books.name, fenced)
                self._lost[tp] = _Lost(fenced)
                del self._lanes[tp]
                await running.page.owner.close()
        now = asyncio.get_running_loop().time()
        for lost in self._lost.values():
            if now - lost.since > FENCED_S:
                raise lost.error  # the group does not give it to anybody else: begin again

    async def _close(self, partitions: Iterable[TopicPartition], grace_s: float) -> None:
        """End lanes: finished where they are done in time, cancelled where not."""
        closing = [running for tp in partitions if (running := self._lanes.pop(tp, None)) is not None]
        for running in closing:
            running.stop.set()
        tasks = [running.task for running in closing]
        try:
            if tasks and grace_s > 0:
                await asyncio.wait(tasks, timeout=grace_s)
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    logger.warning(
                        "destination %s: what was under way is sent again: %s", self._books.name, result
                    )
            for running in closing:
                await running.page.owner.close()


def _fence_in(error: BaseException) -> Fenced | None:
    """The fence that ended a lane, if nothing else did."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, Fenced) else None
