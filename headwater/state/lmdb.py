"""State on LMDB: one folder per partition, a cache of a fold that may be deleted at any time.

Durability: commits are written behind, one for tens of thousands of events, so each is an ordinary synced LMDB commit.
That costs a few milliseconds a second at full speed and makes a power cut as harmless as a SIGKILL: the folder holds some
earlier committed state with the offsets that belong to it, and the fold goes on from there. A folder that cannot be
trusted (damaged, or of another log) is discarded, loudly, and rebuilt; one written by a newer or older layout is refused.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lmdb

from headwater.errors import SchemaMismatch, StateError
from headwater.log.protocol import TopicPartition
from headwater.state.seen import Changes, DiskSeen, Txn, unreadable

SCHEMA = b"1"
FIRST_MAP_BYTES = 64 << 20
_SPARE_MAP_BYTES = 16 << 20  # grow before a commit that leaves less than this
_MAX_TABLES = 64
_META = b"meta"
_FOLDED = b"folded"
_SEEN = b"seen"
_DAMAGED = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)

_log = logging.getLogger("headwater.state")


class LmdbTable:
    """A key table; reads see the last commit."""

    def __init__(self, state: LmdbState, db: Any) -> None:
        self._state = state
        self._db = db

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        try:
            value = self._state.reader().get(key, db=self._db)
        except lmdb.Error as error:
            raise unreadable(self._state.folder, error) from error
        return None if value is None else bytes(value)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys with the prefix, in order."""
        try:
            cursor = self._state.reader().cursor(self._db)
            found = cursor.set_range(prefix) if prefix else cursor.first()
            while found and bytes(cursor.key()[: len(prefix)]) == prefix:
                yield bytes(cursor.key()), bytes(cursor.value())
                found = cursor.next()
        except lmdb.Error as error:
            raise unreadable(self._state.folder, error) from error


class LmdbState:
    """The state of one partition; open with `open_state`. One process, one writer."""

    def __init__(self, folder: Path, *, sync: bool = True, map_bytes: int = FIRST_MAP_BYTES) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        size = max(map_bytes, _file_bytes(folder) + _SPARE_MAP_BYTES)
        self._env = lmdb.open(str(folder), map_size=size, max_dbs=_MAX_TABLES, sync=sync, max_spare_txns=1)
        self._txn: Txn | None = None
        self._tables: dict[str, LmdbTable] = {}
        self._dbs: dict[str, Any] = {}
        try:
            self._meta = self._env.open_db(_META)
            self._check_schema()
            self._folded = self._env.open_db(_FOLDED)
            self._seen = DiskSeen(self._env.open_db(_SEEN), self.reader, folder)
        except BaseException:
            self.close()
            raise

    def _check_schema(self) -> None:
        with self._env.begin(write=True) as txn:
            found = txn.get(b"schema", db=self._meta)
            if found is None:
                txn.put(b"schema", SCHEMA, db=self._meta)
            elif found != SCHEMA:
                raise SchemaMismatch(
                    f"state folder {self.folder}: layout {found.decode('ascii', 'replace')!r}, this version of "
                    f"Headwater reads layout {SCHEMA.decode()!r}; the folder is a cache, delete it and it is "
                    f"rebuilt from the log: rm -r '{self.folder}'"
                )

    def reader(self) -> Txn:
        """The read transaction in force; it ends with each commit."""
        if self._txn is None:
            self._txn = self._env.begin(buffers=True)
        return self._txn

    def _end_reading(self) -> None:
        if self._txn is not None:
            self._txn.abort()
            self._txn = None

    def table(self, name: str) -> LmdbTable:
        """A key table, empty until something is put."""
        if (table := self._tables.get(name)) is None:
            self._end_reading()  # a transaction cannot see a database opened after it began
            try:
                self._dbs[name] = self._env.open_db(b"t." + name.encode())
            except lmdb.Error as error:
                raise unreadable(self.folder, error) from error
            table = self._tables[name] = LmdbTable(self, self._dbs[name])
        return table

    @property
    def seen(self) -> DiskSeen:
        """The dedupe memory."""
        return self._seen

    @property
    def log_id(self) -> str:
        """The installation whose log this state folds; empty until `bind`."""
        value = self.reader().get(b"log", db=self._meta)
        return "" if value is None else bytes(value).decode()

    def bind(self, log_id: str) -> None:
        """Remember which log this state folds."""
        self._end_reading()
        with self._env.begin(write=True) as txn:
            txn.put(b"log", log_id.encode(), db=self._meta)

    def folded(self, tp: TopicPartition) -> int:
        """The next offset of `tp` that this state has not folded yet; 0 for a fresh state."""
        value = self.reader().get(_name(tp), db=self._folded)
        return 0 if value is None else int.from_bytes(value, "big")

    def commit(
        self,
        *,
        puts: Mapping[str, Mapping[bytes, bytes | None]],
        seen: Iterable[tuple[bytes, int]],
        folded: Mapping[TopicPartition, int],
        expire_before_day: int | None = None,
    ) -> None:
        """Apply changes and the folded offsets in one synced transaction. Raises StateError."""
        for name in puts:
            self.table(name)
        self._end_reading()
        seen = list(seen)
        self._make_room()
        while True:
            try:
                changes = self._write(puts, seen, folded, expire_before_day)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise StateError(
                    f"state folder {self.folder}: cannot commit ({error}); check free disk space and permissions"
                ) from error
            else:
                return self._seen.apply(changes)

    def _write(
        self,
        puts: Mapping[str, Mapping[bytes, bytes | None]],
        seen: list[tuple[bytes, int]],
        folded: Mapping[TopicPartition, int],
        expire_before_day: int | None,
    ) -> Changes:
        with self._env.begin(write=True, buffers=True) as txn:
            for name, values in puts.items():
                _apply(txn, self._dbs[name], values)
            for tp, offset in folded.items():
                txn.put(_name(tp), offset.to_bytes(8, "big"), db=self._folded)
            return self._seen.write(txn, seen, expire_before_day)

    def _make_room(self) -> None:
        info = self._env.info()
        if info["map_size"] - info["last_pgno"] * self._env.stat()["psize"] < _SPARE_MAP_BYTES:
            self._grow()

    def _grow(self) -> None:
        """Double the map; only between transactions."""
        self._env.set_mapsize(self._env.info()["map_size"] * 2)

    def close(self) -> None:
        """Release files."""
        self._end_reading()
        self._env.close()


def _apply(txn: Txn, db: Any, values: Mapping[bytes, bytes | None]) -> None:
    for key in sorted(values):
        value = values[key]
        if value is None:
            txn.delete(key, db=db)
        else:
            txn.put(key, value, db=db)


def _name(tp: TopicPartition) -> bytes:
    return f"{tp.topic}\0{tp.partition}".encode()


def _file_bytes(folder: Path) -> int:
    file = folder / "data.mdb"
    return file.stat().st_size if file.exists() else 0


def discard(folder: Path, why: str) -> None:
    """Remove a state folder that cannot be trusted and say so."""
    _log.warning("state folder %s is discarded and rebuilt from the log: %s", folder, why)
    shutil.rmtree(folder)


def open_state(folder: Path, log_id: str = "", *, sync: bool = True) -> LmdbState:
    """Open a partition's state, fresh where the folder is missing, damaged or folds another log.

    `log_id` names the installation's log (empty: not known, not checked). Raises SchemaMismatch or StateError.
    """
    try:
        return _open(folder, log_id, sync=sync)
    except (lmdb.Error, OSError) as error:
        raise StateError(
            f"state folder {folder}: cannot be opened ({error}); check free disk space and permissions"
        ) from error


def _open(folder: Path, log_id: str, *, sync: bool) -> LmdbState:
    try:
        state = LmdbState(folder, sync=sync)
    except _DAMAGED as error:
        discard(folder, f"it is damaged ({error})")
        state = LmdbState(folder, sync=sync)
    if log_id and state.log_id not in ("", log_id):
        found = state.log_id
        state.close()
        discard(folder, f"it folds the log {found!r}, this one is {log_id!r}")
        state = LmdbState(folder, sync=sync)
    if log_id and not state.log_id:
        state.bind(log_id)
    return state
