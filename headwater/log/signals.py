"""Sleeping until a topic is written to, without ever missing a write.

A reader takes a token, looks, and sleeps only if the token is still the newest: a write between the look and the sleep
makes the sleep end at once. Belongs to one event loop; other threads call `bump` through `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

Token = tuple[int, ...]


class Signals:
    """A counter of writes per topic, and the tasks that sleep on it."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._sleepers: dict[str, set[asyncio.Future[None]]] = {}
        self._seen: WeakKeyDictionary[asyncio.Task[object], dict[str, int]] = WeakKeyDictionary()

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

    def last_seen(self, topics: Sequence[str]) -> Token:
        """The token this task had when its previous `wait` on these topics returned.

        A task that reads and then waits is thereby told of writes that happened between the two.
        """
        seen = self._of_task()
        return tuple(seen.get(topic, 0) for topic in topics)

    def mark_seen(self, topics: Sequence[str]) -> None:
        """Remember, for this task, that it has been told of everything so far."""
        self._of_task().update(zip(topics, self.token(topics), strict=True))

    async def wait(self, topics: Sequence[str], seconds: float) -> bool:
        """True as soon as something was written since this task last waited; False after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self.changed(topics, self.last_seen(topics))
        except TimeoutError:
            return False
        self.mark_seen(topics)
        return True

    def _of_task(self) -> dict[str, int]:
        task = asyncio.current_task()
        assert task is not None, "waiting needs a running task"
        return self._seen.setdefault(task, {})
