"""Waking sleepers of `Log.wait`: a long poll at the end of each topic that somebody sleeps on, and only meanwhile.

Every answer of a broker, to whom it may belong, says where the committed part of a partition ends; what is newer than the
newest end known so far is a write, and bumps the topic's signal.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from headwater.errors import LogUnavailable
from headwater.log.kafka.cluster import LATEST, Cluster
from headwater.log.kafka.failures import TROUBLE, described
from headwater.log.protocol import TopicPartition
from headwater.log.signals import Signals

POLL_MS = 500
PAUSE_S = 0.02  # between two answers with news: readers are woken fifty times a second at most
RETRY_S = 0.5
PEEK_BYTES = 1  # a broker sends a batch all the same, whole

_log = logging.getLogger(__name__)


class Watch:
    """Knows how far each partition is committed; polls while somebody sleeps."""

    def __init__(self, cluster: Cluster, signals: Signals) -> None:
        """`cluster` is a client of its own: a long poll holds up everything else on its connection."""
        self._cluster, self._signals = cluster, signals
        self._ends: dict[TopicPartition, int] = {}
        self._topics: Counter[str] = Counter()
        self._partitions: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def observe(self, tp: TopicPartition, end: int) -> bool:
        """A broker said that the partition is committed up to `end`; whether nothing newer is known."""
        known = self._ends.get(tp)
        if known is None or end > known:
            self._ends[tp] = end
            if known is not None:
                self._signals.bump([tp.topic])
            return True
        return end == known

    def attend(self, topics: Sequence[str], partitions: Sequence[int]) -> None:
        """Somebody begins to sleep on these topics."""
        self._partitions.update(zip(topics, partitions, strict=True))
        self._topics.update(topics)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="kafka-watch")

    def leave(self, topics: Sequence[str]) -> None:
        """Somebody woke up; the poll under way is finished, in case the next one falls asleep soon."""
        self._topics.subtract(topics)
        self._topics += Counter()  # drops what nobody sleeps on

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._cluster.close()

    async def _run(self) -> None:
        while self._topics:
            try:
                await self._poll()
            except (LogUnavailable, *TROUBLE) as error:
                _log.debug("watching for writes: %s", described(error))
                await asyncio.sleep(RETRY_S)

    async def _poll(self) -> None:
        tps = [TopicPartition(topic, n) for topic in self._topics for n in range(self._partitions[topic])]
        if unknown := [tp for tp in tps if tp not in self._ends]:
            for tp, end in (await self._cluster.offsets(unknown, LATEST)).items():
                self.observe(tp, end)
        client = await self._cluster.client()
        by_node = await self._cluster.by_leader(client, tps)
        polls = [asyncio.create_task(self._ask(node, some)) for node, some in by_node.items()]
        try:
            done, _ = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
            news = [task.result() for task in done]  # every answer is heard before one of them is believed
            if any(news):
                await asyncio.sleep(PAUSE_S)
        finally:
            for task in polls:
                task.cancel()
            await asyncio.gather(*polls, return_exceptions=True)

    async def _ask(self, node: int, tps: Sequence[TopicPartition]) -> bool:
        client = await self._cluster.client()
        before = {tp: self._ends[tp] for tp in tps}
        answer = await self._cluster.fetch(client, node, before, PEEK_BYTES, POLL_MS)
        news = False
        for tp, found in answer.items():
            if found is None:  # the partition was made anew: whoever reads it is told so
                del self._ends[tp]
                self._signals.bump([tp.topic])
                news = True
            elif found.stable > before[tp]:
                self.observe(tp, found.stable)
                news = True
        return news
