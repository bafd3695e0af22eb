"""One SQLite file of the log: its schema, how it is made and how it is opened.

A file appears complete or not at all: it is built under another name, synced, then renamed, and the folder is synced.
Rows of `batches` and `keyed` are addressed by `row_id`: the partition's number above, the offset in the low 44 bits, so
that the table itself is the index and a batch costs one B-tree insert.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from headwater.errors import Corrupt, LogError, LogUnavailable

SCHEMA_VERSION = 1
APPLICATION_ID = 0x48574C47  # "HWLG", shown by file(1)
OFFSET_BITS = 44  # 17 million million records a partition, half a million partitions a file
OFFSET_MASK = (1 << OFFSET_BITS) - 1
PAGE_BYTES = 4096

_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE partitions (
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
  begin INTEGER NOT NULL DEFAULT 0, end INTEGER NOT NULL DEFAULT 0,
  events INTEGER NOT NULL DEFAULT 0, -- ever appended
  UNIQUE (topic, partition)
) STRICT;
CREATE TABLE batches (
  id INTEGER PRIMARY KEY, count INTEGER NOT NULL, events INTEGER NOT NULL,
  events_before INTEGER NOT NULL, -- in the partition, so that a lag in events is a subtraction
  first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TRIGGER batches_move_the_end AFTER INSERT ON batches BEGIN
  UPDATE partitions SET end = (NEW.id & 17592186044415) + NEW.count, events = NEW.events_before + NEW.events
  WHERE id = NEW.id >> 44;
END;
CREATE TABLE keyed (
  id INTEGER PRIMARY KEY, part INTEGER NOT NULL, key BLOB NOT NULL, value BLOB,
  events INTEGER NOT NULL, ms INTEGER NOT NULL, checksum INTEGER NOT NULL, UNIQUE (part, key)
) STRICT;
CREATE INDEX keyed_tombstones ON keyed (ms) WHERE value IS NULL;
CREATE TABLE positions (
  grp TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
  offset INTEGER, -- NULL: registered, so that nothing it has not read is removed, but never committed
  metadata TEXT NOT NULL DEFAULT '', PRIMARY KEY (grp, topic, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE claims (
  grp TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, epoch INTEGER NOT NULL,
  PRIMARY KEY (grp, topic, partition)
) STRICT, WITHOUT ROWID;
"""


def row_id(part: int, offset: int) -> int:
    """The row of a partition's offset."""
    return part << OFFSET_BITS | offset


def create(path: Path) -> None:
    """Make the file unless it is there; it survives a power cut once this returns."""
    if path.exists():
        return
    draft = path.with_name(path.name + ".new")
    for leftover in (draft, draft.with_name(draft.name + "-wal"), draft.with_name(draft.name + "-shm")):
        leftover.unlink(missing_ok=True)
    build(sqlite3.connect(draft, isolation_level=None))
    sync(draft)
    draft.rename(path)
    sync(path.parent)
    for folder in path.absolute().parents[
        1:3
    ]:  # the data folder may be new as well, and need not be ours to list
        with suppress(PermissionError):
            sync(folder)


def build(connection: sqlite3.Connection) -> None:
    """Lay the schema into an empty database and close the connection."""
    with closing(connection):
        connection.executescript(
            f"PRAGMA page_size={PAGE_BYTES}; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous=FULL;"
            f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; PRAGMA application_id={APPLICATION_ID}; COMMIT;"
            "PRAGMA journal_mode=WAL;"
        )


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The writer's connection. Raises LogError for a file of a newer version, LogUnavailable where it cannot be opened."""
    try:
        create(path)
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        with _closed_where_it_fails(connection):
            prepare_writer(connection)
            check_version(connection, path)
    except (sqlite3.OperationalError, OSError) as error:
        raise LogUnavailable(f"{path}: cannot be opened for writing: {error}") from error
    except sqlite3.DatabaseError as error:
        raise Corrupt(f"{path}: {error}; restore it from a backup") from error
    return connection


def prepare_writer(connection: sqlite3.Connection) -> None:
    """Durable at each commit; checkpoints are the writer thread's business, after it has answered."""
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=0",
        f"journal_size_limit={64 << 20}",
        "cache_size=-16384",
        "temp_store=MEMORY",
        "busy_timeout=1000",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """A read-only connection; None while the file does not exist. Raises LogUnavailable, LogError or Corrupt."""
    if not path.exists():
        return None
    try:
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(path.absolute()))}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        with _closed_where_it_fails(connection):
            connection.execute("PRAGMA busy_timeout=1000").fetchall()
            connection.execute("PRAGMA query_only=1").fetchall()
            check_version(connection, path)
    except sqlite3.OperationalError as error:
        raise LogUnavailable(
            f"{path}: cannot be read as user {os.geteuid()}: {error}; run this as the owner of the folder"
        ) from error
    except sqlite3.DatabaseError as error:
        raise Corrupt(f"{path}: {error}; restore it from a backup") from error
    return connection


@contextmanager
def _closed_where_it_fails(connection: sqlite3.Connection) -> Iterator[None]:
    """Nobody has the connection yet; it would stay open as long as the error is kept, and the file with it."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raises LogError for a file that another version of Headwater or another program has made."""
    ((application,),) = connection.execute("PRAGMA application_id").fetchall()
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
        kind = (
            "a newer Headwater"
            if application == APPLICATION_ID and version > SCHEMA_VERSION
            else "another program"
        )
        raise LogError(
            f"{path}: written by {kind} (schema {version}, this version reads {SCHEMA_VERSION}); "
            "install the Headwater that wrote it, or use another --dir"
        )


def concerns_the_file(error: Exception) -> bool:
    """Whether SQLite could not use the file (full, broken, locked, damaged), as opposed to one statement being wrong."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def refusal(path: Path, error: sqlite3.Error, advice: str) -> Corrupt | LogUnavailable:
    """What a caller is told when SQLite cannot use the file."""
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Corrupt(f"{path}: {error} ({name}); restore it from a backup")
    return LogUnavailable(f"{path}: {error} ({name}); {advice} and try again")


def sync(path: Path) -> None:
    """Make a file or a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
