"""Sleeping until a topic is written to, without ever missing a write.

A reader takes a token, looks, and sleeps only if the token is still the newest: a write between the look and the sleep
makes the sleep end at once. Belongs to one event loop; other threads call `bump` through `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Sequence
from contextvars import ContextVar

from headwater.log.protocol import TopicPartition

Token = tuple[int, ...]


class Signals:
    """A counter of writes per topic, and the tasks that sleep on it."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._sleepers: dict[str, set[asyncio.Future[None]]] = {}

    def token(self, topics: Sequence[str]) -> Token:
        """What to hand to `changed` after having looked."""
        return tuple(self._versions.get(topic, 0) for topic in topics)

    def bump(self, topics: Iterable[str]) -> None:
        """Something was written: wake everyone who sleeps on one of the topics."""
        for topic in topics:
            self._versions[topic] = self._versions.get(topic, 0) + 1
            for sleeper in self._sleepers.get(topic, ()):
                if not sleeper.done():
                    sleeper.set_result(None)

    async def changed(self, topics: Sequence[str], token: Token) -> None:
        """Return once one of the topics was written to after the token was taken."""
        while self.token(topics) == token:
            sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            for topic in topics:
                self._sleepers.setdefault(topic, set()).add(sleeper)
            try:
                await sleeper
            finally:
                for topic in topics:
                    self._sleepers[topic].discard(sleeper)

    def look(self, tp: TopicPartition) -> None:
        """This task is about to read the partition or its bounds: what is written from now on, it has not seen."""
        looks = _LOOKS.get()
        if looks is None or looks.task() is not asyncio.current_task():
            _LOOKS.set(looks := _Looks(weakref.ref(_task())))
        looks.of(self)[tp] = self._versions.get(tp.topic, 0)

    async def wait(self, topics: Sequence[str], seconds: float) -> bool:
        """True as soon as something is written that this task has not looked at since; False after `seconds`.

        "This task" is the nearest one that has read, so that `asyncio.wait_for(log.wait(...))` works as well. Where
        nothing was read before, only writes from now on count.
        """
        looks = _LOOKS.get()
        mine = {} if looks is None else looks.of(self)
        current = self.token(topics)
        seen = tuple(
            min((version for tp, version in mine.items() if tp.topic == topic), default=newest)
            for topic, newest in zip(topics, current, strict=True)
        )
        try:
            async with asyncio.timeout(seconds):
                await self.changed(topics, seen)
        except TimeoutError:
            return False
        for tp in mine:  # told once: a partition that is never read again wakes nobody a second time
            if tp.topic in topics:
                mine[tp] = self._versions.get(tp.topic, 0)
        return True


class _Looks:
    """What one task has read of each log, and how new it was."""

    def __init__(self, task: weakref.ref[asyncio.Task[object]]) -> None:
        self.task = task
        self._by_log: weakref.WeakKeyDictionary[Signals, dict[TopicPartition, int]] = (
            weakref.WeakKeyDictionary()
        )

    def of(self, signals: Signals) -> dict[TopicPartition, int]:
        """The looks at one log."""
        return self._by_log.setdefault(signals, {})


_LOOKS: ContextVar[_Looks | None] = ContextVar("headwater_log_looks", default=None)


def _task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None, "reading needs a running task"
    return task
