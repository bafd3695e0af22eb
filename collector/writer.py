"""The way into the log: requests that arrive while one append is on its way share the next, hence one sync.

Nothing here acknowledges anything: `write` returns when the log has said that the records are durable, or why not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from collector.outcome import Outcome
from headwater.errors import LogError, LogUnavailable
from headwater.log import topics
from headwater.log.protocol import Entry, Log, Record

logger = logging.getLogger(__name__)

ANSWER_S = 30.0  # a log that says nothing for this long is unavailable; what it still writes, dedupe removes


Done = Callable[[LogError | None], None]


def entries(outcome: Outcome, partitions: int, now_ms: int) -> list[Entry]:
    """One record for each partition that the events of a request belong to; order is kept within it."""
    keys = outcome.keys
    if partitions == 1 or len(keys) == 1:
        return [_entry(topics.partition_of(keys[0], partitions), outcome.record(), len(keys), now_ms)]
    groups: dict[int, list[int]] = {}
    for number, key in enumerate(keys):
        groups.setdefault(topics.partition_of(key, partitions), []).append(number)
    return [
        _entry(partition, outcome.record(numbers), len(numbers), now_ms)
        for partition, numbers in groups.items()
    ]


def _entry(partition: int, value: bytes, events: int, now_ms: int) -> Entry:
    return Entry(topics.ACCEPTED, partition, Record(value, timestamp=now_ms, events=events))


class Writer:
    """Groups appends: one is on its way, what comes meanwhile shares the next. `healthy`: the last one succeeded."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: list[Entry] = []
        self._told: list[Done] = []
        self._task: asyncio.Task[None] | None = None
        self.healthy = True

    def submit(self, batch: Sequence[Entry], done: Done) -> None:
        """Append; `done` is called with None once it is durable, else with the reason why it is not."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
        self._waiting.extend(batch)
        self._told.append(done)

    async def write(self, batch: Sequence[Entry]) -> LogError | None:
        """Append; None once durable, else why it is not."""
        answer = asyncio.get_running_loop().create_future()

        def done(error: LogError | None) -> None:
            if not answer.done():  # it is where its waiter was cancelled
                answer.set_result(error)

        self.submit(batch, done)
        found: LogError | None = await answer
        return found

    async def drain(self) -> None:
        """Wait until nothing is on its way."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        """Append until nobody waits; the task begins a turn of the loop later, so that requests of one turn meet."""
        try:
            while told := self._told:
                batch = self._waiting
                self._told, self._waiting = [], []
                await self._append(batch, told)
        finally:
            self._task = None

    async def _append(self, batch: list[Entry], told: list[Done]) -> None:
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
            # Whatever happened, nobody may wait for ever.
            if outcome is not None and self.healthy:
                logger.error("the log takes no events: %s; clients are told to retry (503)", outcome)
            self.healthy = outcome is None
            for done in told:
                _tell(done, outcome)


def _tell(done: Done, outcome: LogError | None) -> None:
    try:
        done(outcome)
    except Exception:  # the supervisor of one answer: the others of its group must get theirs
        logger.exception("an answer could not be given")
