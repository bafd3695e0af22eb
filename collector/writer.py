"""The way into the log: requests that arrive while one append is on its way share the next, hence one sync.

Nothing here acknowledges anything: `write` returns when the log has said that the records are durable, or why not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from headwater import event
from headwater.errors import LogError, LogUnavailable
from headwater.event import Accepted
from headwater.log import topics
from headwater.log.protocol import Entry, Log, Record

logger = logging.getLogger(__name__)

ANSWER_S = 30.0  # a log that says nothing for this long is unavailable; what it still writes, dedupe removes


def entries(accepted: Sequence[Accepted], partitions: int, now_ms: int) -> list[Entry]:
    """One record for each partition that the events of a request belong to; order is kept within it."""
    if partitions == 1 or len(accepted) == 1:
        first = accepted[0]
        key = "" if partitions == 1 else topics.event_key(first.anonymous_id, first.user_id)
        return [_entry(topics.partition_of(key, partitions), accepted, now_ms)]
    groups: dict[int, list[Accepted]] = {}
    for one in accepted:
        key = topics.event_key(one.anonymous_id, one.user_id)
        groups.setdefault(topics.partition_of(key, partitions), []).append(one)
    return [_entry(partition, group, now_ms) for partition, group in groups.items()]


def _entry(partition: int, accepted: Sequence[Accepted], now_ms: int) -> Entry:
    value = b"\n".join([event.encode_accepted(one) for one in accepted])
    return Entry(topics.ACCEPTED, partition, Record(value, timestamp=now_ms, events=len(accepted)))


class Writer:
    """Groups appends: one is on its way, what comes meanwhile shares the next. `healthy`: the last one succeeded."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: list[Entry] = []
        self._answer: asyncio.Future[LogError | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.healthy = True

    async def write(self, batch: Sequence[Entry]) -> LogError | None:
        """Append; None once durable, else why it is not."""
        answer = self._answer
        if answer is None:
            answer = self._answer = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
        self._waiting.extend(batch)
        return await answer

    async def drain(self) -> None:
        """Wait until nothing is on its way."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        """Append until nobody waits; the task begins a turn of the loop later, so that requests of one turn meet."""
        try:
            while (answer := self._answer) is not None:
                batch = self._waiting
                self._answer, self._waiting = None, []
                await self._append(batch, answer)
        finally:
            self._task = None

    async def _append(self, batch: list[Entry], answer: asyncio.Future[LogError | None]) -> None:
        outcome: LogError | None = LogUnavailable("the append ended without an answer")
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._log.append(batch)
            outcome = None
        except TimeoutError:
            outcome = LogUnavailable(f"the log did not answer within {ANSWER_S:g} s")
        except LogError as error:
            outcome = error
        except Exception as error:  # the supervisor of the log: the next group must not wait for ever
            logger.exception("the log failed in a way it does not declare")
            outcome = LogUnavailable(f"the log failed: {type(error).__name__}")
        finally:
            # Whatever happened, nobody may wait for ever; a future may be done because a waiter was cancelled.
            if outcome is not None and self.healthy:
                logger.error("the log takes no events: %s; clients are told to retry (503)", outcome)
            self.healthy = outcome is None
            if not answer.done():
                answer.set_result(outcome)
