"""The exact counts of one destination, and the transactions that carry them.

Counts, outputs and position are one transaction: whatever is killed whenever, what was read is the sum of what was
delivered, filtered, is retrying, dead or discarded. All transactions of a destination take turns here, whichever
partition they move.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Self
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from destinations.kit.lineage import go_back, log_ids, replaced
from destinations.kit.records import Totals, decode_totals, encode
from headwater.errors import LogUnavailable
from headwater.log.protocol import Entry, Log, Owner, Position, Record, TopicPartition
from headwater.log.topics import DESTINATION_GROUP_PREFIX, DESTINATION_TOTALS, PROCESSED

logger = logging.getLogger(__name__)

_shared: WeakKeyDictionary[Log, WeakValueDictionary[str, Books]] = WeakKeyDictionary()
_TOTALS = TopicPartition(DESTINATION_TOTALS, 0)


async def all_totals(log: Log) -> dict[str, Totals]:
    """The counts of every destination that ever read anything."""
    found: dict[str, Totals] = {}
    offset, end = await log.bounds(_TOTALS)
    while offset < end:
        batch = await log.read(_TOTALS, offset)
        for record in batch.records:
            if record.value is not None:
                totals = decode_totals(record.value)
                found[totals.destination] = totals
        if batch.next_offset <= offset:
            break
        offset = batch.next_offset
    return found


class Books:
    """Counts of one destination; the only writer of its row."""

    def __init__(self, name: str, totals: Totals, log: Log) -> None:
        self.name, self.totals = name, totals
        self._log = ref(log)  # which lives longer than its books
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Future[None]] = set()
        self.deciding = asyncio.Lock()  # held from reading the open dead letters until they are settled

    @classmethod
    async def load(cls, log: Log, name: str) -> Self:
        """The counts as of the last transaction; one object for all who count for this destination in this process."""
        books: Self = _shared.setdefault(log, WeakValueDictionary()).setdefault(  # type: ignore[assignment]
            name, cls(name, Totals(destination=name), log)
        )
        async with books._turn:
            found = (await all_totals(log)).get(name)
            books.totals = found or Totals(destination=name)
        return books

    @classmethod
    async def begin(cls, log: Log, name: str) -> Self:
        """Load them for a reader that starts now: where the log was replaced, its positions go back to the beginning."""
        books = await cls.load(log, name)
        present = await log_ids(log)
        for partition in replaced(books.totals.logs, present):
            await go_back(log, name, partition)
            owner = await log.claim(
                DESTINATION_GROUP_PREFIX + name, tp := TopicPartition(PROCESSED, partition)
            )
            try:
                position = await owner.position() or Position((await log.bounds(tp)).begin)
                now = Totals(destination=name, logs={str(partition): present[str(partition)]})
                await books.commit(owner, tp, position, [], now)
            finally:
                await owner.close()
        return books

    async def commit(
        self,
        owner: Owner,
        tp: TopicPartition,
        position: Position,
        entries: Sequence[Entry],
        change: Totals,
        patience: Sequence[float] = (0.1, 0.5, 1.0, 2.0, 5.0),
    ) -> None:
        """Write outputs and counts and move the position, or nothing at all.

        A log that cannot write now is asked again after each pause of `patience` (the events were delivered: giving up
        means delivering them twice). Raises LogUnavailable after the last one, Fenced at once.

        A caller that is cancelled leaves at once, but what the log has been asked to write may still be written: the
        transaction is finished here, and whoever counts next waits for it.
        """
        work = asyncio.ensure_future(self._commit(owner, tp, position, entries, change, patience))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        await asyncio.shield(work)

    async def _ids(self) -> dict[str, str]:
        """The ids of the log's partitions as far as they are not known yet."""
        log = self._log()
        assert log is not None, "a log outlives the books that are kept of it"
        return {number: id_ for number, id_ in (await log_ids(log)).items() if number not in self.totals.logs}

    async def _commit(
        self,
        owner: Owner,
        tp: TopicPartition,
        position: Position,
        entries: Sequence[Entry],
        change: Totals,
        patience: Sequence[float],
    ) -> None:
        async with self._turn:
            totals = self.totals.plus(change)
            if tp.topic == PROCESSED and str(tp.partition) not in totals.logs:
                totals.logs |= await self._ids()
            assert totals.balances(), f"destination {self.name}: the counts do not add up: {totals}"
            row = Record(encode(totals), key=self.name.encode())
            for pause in (*patience, None):
                transaction = owner.begin()
                for entry in entries:
                    transaction.append(entry.topic, entry.partition, [entry.record])
                transaction.append(DESTINATION_TOTALS, 0, [row])
                transaction.advance(tp, position)
                try:
                    await transaction.commit()
                    break
                except LogUnavailable as error:
                    if pause is not None and await owner.position() == position:
                        break  # it was written, only the answer was lost
                    if pause is None:
                        raise
                    logger.warning(
                        "destination %s: the log cannot take its outcome yet: %s", self.name, error
                    )
                await asyncio.sleep(pause)
            self.totals = totals
