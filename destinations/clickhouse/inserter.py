"""Inserts rows exactly once into tables that remember each row's place in the log. Blocking; runs in the loader's thread.

A first insert that succeeds is trusted. After any failure, and after a crash, the table itself is asked which places it
holds; only the missing rows are inserted, and the table is asked again. The deduplication token alone is never trusted
after a failure: MergeTree notes a token before the part is in place, so a kill between the two would lose the rows. A
server goes on with an insert whose client gave up or died, so it is first asked whether one of ours still runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from destinations.clickhouse.engine import Engine, EngineError
from destinations.clickhouse.lots import Lot, Sent, Table, again
from destinations.clickhouse.names import literal, quote
from destinations.clickhouse.replicas import Replicas
from destinations.clickhouse.rows import Rows
from destinations.clickhouse.troubles import Trouble, advice, judge
from destinations.clickhouse.writer import TEXT_SETTINGS

logger = logging.getLogger(__name__)

# Copies of a key within one insert are left to merges and FINAL, like those of two inserts: looking for them here costs
# a tenth of the insert, and the processors have let no copy through.
SETTINGS = {**TEXT_SETTINGS, "optimize_on_insert": "0", "async_insert": "0"}
_ACCESS_DENIED = 497
_LOOK_S = 0.2  # how often it is asked whether an earlier insert has ended
_LISTEN_S = 0.2  # how soon a pause notices that it is to end
_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Stopped(Exception):
    """The process is stopping; what was under way is repaired at the next start."""


@dataclass(frozen=True, slots=True)
class Poison:
    """A row that the engine refuses, with the engine's words."""

    row: Any
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Why the last attempt failed, and what it sent where that can be sent again as it was."""

    error: EngineError
    sent: Sent | None = None

    @property
    def kind(self) -> Trouble:
        """What it calls for."""
        return judge(self.error.code, str(self.error))


class Inserter:
    """Inserts lots; `pause(seconds)` waits between attempts and raises Stopped when it is time to go.

    `tell` hears of every failure, and None once something passed again.
    """

    def __init__(
        self,
        engine: Engine,
        database: str,
        pause: Callable[[float], None],
        replicas: Replicas | None = None,
        tell: Callable[[EngineError | None], object] = lambda _: None,
    ) -> None:
        self._engine, self._database, self._pause, self._tell = engine, database, pause, tell
        self._replicas = replicas
        self._settings = {**SETTINGS, **(replicas.settings if replicas else {})}
        self._processes = replicas.all("system.processes") if replicas else "system.processes"

    def insert(self, lot: Lot, token: str) -> list[Poison]:
        """Insert rows that were never tried before; the rows that can never be inserted. Raises Stopped."""
        poison: list[Poison] = []
        for number, sent in enumerate(lot.inserts()):
            self._send_all(lot.table, sent, f"{token}/{number}", poison)
        return poison

    def repair(self, lot: Lot, token: str) -> list[Poison]:
        """Insert what is missing of rows that may be there; the rows that can never be. Raises Stopped."""
        poison: list[Poison] = []
        self._mend(lot.table, lot.rows, token, poison)
        return poison

    def missing(self, lot: Lot) -> list[Any]:
        """The rows that are not in the table, by place and identity. Raises EngineError, Stopped."""
        if not lot.table.placed:
            return list(lot.rows)  # a row that is there already replaces itself
        while not self._engine.embedded and self._is_inserting(lot):
            self._pause(_LOOK_S)
        while self._replicas is not None and not self._is_whole(self._replicas, lot.table):
            self._pause(_LOOK_S)
        there: set[tuple[Any, ...]] = set()
        places: set[tuple[int, ...]] = set()
        source = self._replicas.rows(lot.table.name) if self._replicas else self._name(lot.table)
        for partition, low, high in _ranges(lot.rows):
            answer = self._engine.query(
                f"SELECT log_offset, log_line, {lot.table.identity_sql} FROM {source} "
                f"WHERE log_partition = {partition} AND log_offset BETWEEN {low} AND {high}"
            )
            for offset, line, *identity in answer:
                places.add((partition, int(offset), int(line), *_plain(identity)))
                there.add(tuple(_plain(identity)))
        return [row for row in lot.rows if not _known(lot.table.identity(row), row.place, there, places)]

    def _is_whole(self, replicas: Replicas, table: Table) -> bool:
        """Whether the replicas that answer hold all that was ever inserted. Raises EngineError."""
        ((whole,),) = self._engine.query(replicas.is_whole(table.name))
        if not int(whole):
            logger.info("%s: waiting for a replica to catch up before it is asked", table.name)
        return bool(int(whole))

    def _is_inserting(self, lot: Lot) -> bool:
        """Whether the server still works on an insert of these partitions that nobody waits for. Raises EngineError."""
        mark = literal(self._mark(lot.table))
        among = literal(f",({'|'.join(map(str, sorted(_partitions(lot.rows))))}),")
        try:
            ((running,),) = self._engine.query(
                f"SELECT count() FROM {self._processes} WHERE query_kind = 'Insert' AND "
                f"startsWith(Settings['log_comment'], {mark}) AND match(Settings['log_comment'], {among})"
            )
        except EngineError as error:
            if error.code != _ACCESS_DENIED:
                raise
            logger.warning(
                "cannot see whether earlier inserts still run, rows may come twice: %s; %s",
                _short(error),
                advice(error.code, str(error)),
            )
            return False
        return int(running) > 0

    def _send_all(self, table: Table, sent: Sent, token: str, poison: list[Poison]) -> None:
        try:
            self._send(table, sent, token)
        except EngineError as error:
            logger.warning("insert of %d rows into %s failed: %s", len(sent.rows), table.name, _short(error))
            self._mend(table, sent.rows, token, poison, Failed(error, sent))

    def _mend(
        self,
        table: Table,
        rows: Sequence[Any],
        token: str,
        poison: list[Poison],
        failed: Failed | None = None,
    ) -> None:
        """Until every row is there or known to be refused: ask what is missing, insert it, ask again.

        Raises EngineError where nothing can pass before a person changes something.
        """
        attempt = generation = 0
        first = failed.sent if failed is not None else None
        while rows:
            if failed is not None and failed.kind != "data":
                self._heed(failed, attempt)
                attempt += 1
            try:
                whole = len(rows)
                rows = self.missing(Lot(table, rows))
                if not rows:
                    return
                if failed is not None and failed.kind in ("data", "size"):
                    rows, first = (
                        self._split(table, rows, f"{token}/{generation}", poison, failed.error),
                        None,
                    )
                elif first is not None and len(rows) == whole:
                    # nothing is there: the very same insert again, whose token holds back the first, should it come late
                    self._send(table, first, token)
                    rows, first = self._to_check(table, rows), None
                else:
                    self._send_again(table, rows, f"{token}/{generation}")
                    rows, first = self._to_check(table, rows), None
                failed = None
                generation += 1
            except GaveUp:
                raise
            except EngineError as failure:
                failed = Failed(failure)
                logger.warning("%s: %d rows wait: %s", table.name, len(rows), _short(failure))

    def _to_check(self, table: Table, rows: Sequence[Any]) -> Sequence[Any]:
        """Rows that an insert just took, as far as the table must be asked for them."""
        return rows if table.placed else []

    def _heed(self, failed: Failed, attempt: int) -> None:
        """Wait before the next attempt. Raises the error where waiting does not help."""
        self._tell(failed.error)
        if failed.kind == "settings":
            raise failed.error
        self._pause(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])

    def _split(
        self, table: Table, rows: Sequence[Any], token: str, poison: list[Poison], error: EngineError
    ) -> Sequence[Any]:
        """Insert by halves; what is left to be checked again. A single refused row becomes poison."""
        if len(rows) == 1 and judge(error.code) == "data":
            logger.error("%s refuses a row at %s: %s", table.name, rows[0].place, _short(error))
            poison.append(Poison(rows[0], error.code, _short(error)))
            return []
        left: list[Any] = []
        middle = len(rows) // 2 or 1
        for number, half in enumerate((rows[:middle], rows[middle:])):
            if half:
                left += self._half(table, half, f"{token}.{number}", poison)
        return left

    def _half(self, table: Table, rows: Sequence[Any], token: str, poison: list[Poison]) -> Sequence[Any]:
        try:
            self._send_again(table, rows, token)
        except EngineError as error:
            kind = judge(error.code, str(error))
            if kind != "data":
                if kind != "size" or len(rows) == 1:
                    raise
                self._tell(error)
                self._pause(_BACKOFF_S[0])
            rows = self.missing(Lot(table, rows))  # an insert that failed may have taken effect
            return self._split(table, rows, token, poison, error) if rows else rows
        return self._to_check(table, rows)

    def _send_again(self, table: Table, rows: Sequence[Any], token: str) -> None:
        for sent in again(table, rows):
            self._send(table, sent, token)

    def _send(self, table: Table, sent: Sent, token: str) -> None:
        partitions = ",".join(map(str, sorted(_partitions(sent.rows))))
        settings = {
            **self._settings,
            "log_comment": f"{self._mark(table)}{partitions},",
            "insert_deduplicate": "1",
            "insert_deduplication_token": _digest(token, sent.data),
        }
        self._engine.insert_block(self._name(table), table.columns, sent.data, sent.format, settings)
        self._tell(None)

    def _mark(self, table: Table) -> str:
        """How the comments of our inserts into a table begin; the log's partitions follow."""
        return f"headwater {self._database}.{table.name} ,"

    def _name(self, table: Table) -> str:
        return f"{quote(self._database)}.{quote(table.name)}"


def _digest(token: str, data: bytes) -> str:
    """The token with a hash of the data: a log that was made anew has the same offsets but other events."""
    return f"{token}:{blake2b(data, digest_size=12).hexdigest()}"


def _ranges(rows: Sequence[Any]) -> Iterator[tuple[int, int, int]]:
    """For each log partition the lowest and highest offset."""
    bounds: dict[int, tuple[int, int]] = {}
    for row in rows:
        partition, offset, _ = row.place
        low, high = bounds.get(partition, (offset, offset))
        bounds[partition] = (min(low, offset), max(high, offset))
    for partition, (low, high) in bounds.items():
        yield partition, low, high


def _partitions(rows: Sequence[Any]) -> set[int]:
    """The log partitions of rows, without making rows that are not there."""
    if isinstance(rows, Rows):
        return {place.partition for source in rows.sources for place in source.places[:1]}
    return {row.place.partition for row in rows}


def _plain(identity: Sequence[Any]) -> list[Any]:
    """64-bit numbers may be quoted in JSON answers; identities compare as text."""
    return [str(part) for part in identity]


def _known(
    identity: tuple[Any, ...],
    place: tuple[int, ...],
    there: set[tuple[Any, ...]],
    places: set[tuple[int, ...]],
) -> bool:
    """Present at its place, or another copy of the same key within the range stands for it."""
    text = tuple(_plain(identity))
    return (*place, *text) in places or text in there


def _short(error: EngineError) -> str:
    return str(error)[:500]


class GaveUp(EngineError):
    """An insert was given up between two attempts, because its partition is another process's to load."""


def pauser(stop: threading.Event, leave: threading.Event) -> Callable[[float], None]:
    """A pause for a thread that ends when `stop` or `leave` is set. Raises Stopped, GaveUp."""

    def pause(seconds: float) -> None:
        waited = 0.0
        while waited < seconds:
            if leave.is_set():
                raise GaveUp(
                    "given up for now: its partition goes to another process, which repairs what was begun"
                )
            step = min(_LISTEN_S, seconds - waited)
            if stop.wait(step):
                raise Stopped
            waited += step

    return pause
