"""The exact counts of one destination, and the transactions that carry them.

Every input partition has a row of its own, written by nobody but the partition's owner: counts, outputs and position are
one transaction. Whatever is killed whenever, and however many processes share the partitions, what was read is the sum
of what was delivered, filtered, is retrying, dead or discarded, in every row and therefore in their sum.

The rows are in the topic `totals.destinations` under `destination/topic/partition`. A row under the destination's name
alone holds what was counted before there were such rows, or in a log before this one (`headwater migrate`): it stands for
ever as it was left, and is added to the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Self
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from destinations.kit.lineage import go_back, has_lineage, log_ids
from destinations.kit.records import Totals, decode_totals, encode
from headwater.errors import LogUnavailable
from headwater.log.protocol import Entry, Log, Owner, Position, Record, TopicPartition
from headwater.log.topics import DESTINATION_TOTALS

logger = logging.getLogger(__name__)

_shared: WeakKeyDictionary[Log, WeakValueDictionary[str, Books]] = WeakKeyDictionary()
_TOTALS = TopicPartition(DESTINATION_TOTALS, 0)
PATIENCE_S = (0.1, 0.5, 1.0, 2.0, 5.0)


def key_of(name: str, tp: TopicPartition) -> bytes:
    """The key of the row that a destination keeps of one input partition."""
    return f"{name}/{tp.topic}/{tp.partition}".encode()


async def all_totals(log: Log) -> dict[str, Totals]:
    """The counts of every destination that ever read anything, all its rows added up."""
    found: dict[str, Totals] = {}
    for _, row in sorted(
        (await _rows(log)).items()
    ):  # the row of before comes first: its log ids are the oldest
        found[row.destination] = found.get(row.destination, Totals(destination=row.destination)).plus(row)
    return found


async def _rows(log: Log) -> dict[bytes, Totals]:
    """The newest row of each key."""
    found: dict[bytes, Totals] = {}
    offset, end = await log.bounds(_TOTALS)
    while offset < end:
        batch = await log.read(_TOTALS, offset)
        for record in batch.records:
            if record.value is not None:
                found[record.key or b""] = decode_totals(record.value)
        if batch.next_offset <= offset:
            break
        offset = batch.next_offset
    return found


class Books:
    """What those who count for one destination share in this process."""

    def __init__(self, name: str, log: Log) -> None:
        self.name = name
        self._log = ref(log)  # which lives longer than its books
        self._under_way: set[asyncio.Future[None]] = set()
        self.deciding = asyncio.Lock()  # held from reading the open dead letters until they are settled

    @classmethod
    def of(cls, log: Log, name: str) -> Self:
        """The books of a destination: one object for all who count for it in this process."""
        books: Self = _shared.setdefault(log, WeakValueDictionary()).setdefault(name, cls(name, log))  # type: ignore[assignment]
        return books

    @property
    def log(self) -> Log:
        """The log they are kept in."""
        log = self._log()
        assert log is not None, "a log outlives the books that are kept of it"
        return log

    async def open(self, owners: Mapping[TopicPartition, Owner]) -> dict[TopicPartition, Page]:
        """The rows of partitions just claimed, which nobody else can write any more.

        Where the log was replaced since a partition was read, its position is at the beginning afterwards.
        Raises Fenced, LogUnavailable.
        """
        rows = await _rows(self.log)
        present = await log_ids(self.log)
        empty = Totals(destination=self.name)
        base = rows.get(self.name.encode(), empty)
        pages = {
            tp: Page(self, tp, owner, rows.get(key_of(self.name, tp), empty), base.before)
            for tp, owner in owners.items()
        }
        for tp, page in pages.items():
            number = str(tp.partition)
            known = page.totals.logs.get(number) or base.logs.get(number)
            if has_lineage(tp) and known and present.get(number, known) != known:
                await page.begin_anew(present[number])
        return pages

    def start(self, work: asyncio.Future[None]) -> None:
        """Keep hold of a transaction until it has ended."""
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)


class Page:
    """The row of one input partition in the hands of its owner; its transactions take turns.

    `before`: offsets that logs before this one had, to which places in tables are added.
    """

    def __init__(
        self, books: Books, tp: TopicPartition, owner: Owner, totals: Totals, before: int = 0
    ) -> None:
        self.books, self.tp, self.owner, self.totals, self.before = books, tp, owner, totals, before
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """The destination's."""
        return self.books.name

    async def begin_anew(self, log_id: str) -> None:
        """The log is another one than was read: go back to its beginning, and note whose it is."""
        position = await go_back(self.books.log, self.name, self.owner, self.tp)
        now = Totals(destination=self.name, logs={str(self.tp.partition): log_id})
        await self.commit(position, [], now)

    async def commit(
        self,
        position: Position,
        entries: Sequence[Entry],
        change: Totals,
        patience: Sequence[float] = PATIENCE_S,
    ) -> None:
        """Write outputs and counts and move the position, or nothing at all.

        A log that cannot write now is asked again after each pause of `patience` (the events were delivered: giving up
        means delivering them twice). Raises LogUnavailable after the last one, Fenced at once.

        A caller that is cancelled leaves at once, but what the log has been asked to write may still be written: the
        transaction is finished here, and whoever counts next on this page waits for it.
        """
        work = asyncio.ensure_future(self._commit(position, entries, change, patience))
        self.books.start(work)
        await asyncio.shield(work)

    async def _commit(
        self, position: Position, entries: Sequence[Entry], change: Totals, patience: Sequence[float]
    ) -> None:
        async with self._turn:
            totals = self.totals.plus(change)
            await self._note_log(totals)
            assert totals.balances(), f"destination {self.name}: the counts do not add up: {totals}"
            row = Record(encode(totals), key=key_of(self.name, self.tp))
            for pause in (*patience, None):
                try:
                    await self._write(position, entries, row)
                    break
                except LogUnavailable as error:
                    if pause is not None and await self.owner.position() == position:
                        break  # it was written, only the answer was lost
                    if pause is None:
                        raise
                    logger.warning(
                        "destination %s: the log cannot take its outcome yet: %s", self.name, error
                    )
                await asyncio.sleep(pause)
            self.totals = totals

    async def _note_log(self, totals: Totals) -> None:
        """Add the id of the partition's log where it is not known yet."""
        number = str(self.tp.partition)
        if has_lineage(self.tp) and number not in totals.logs:
            ids = await log_ids(self.books.log)
            totals.logs |= {number: ids[number]} if number in ids else {}

    async def _write(self, position: Position, entries: Sequence[Entry], row: Record) -> None:
        transaction = self.owner.begin()
        for entry in entries:
            transaction.append(entry.topic, entry.partition, [entry.record])
        transaction.append(DESTINATION_TOTALS, 0, [row])
        transaction.advance(self.tp, position)
        await transaction.commit()
