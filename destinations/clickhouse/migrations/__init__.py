"""Numbered, forward-only changes of the schema, as SQL that fits one machine and a cluster alike.

A file is `NNNN_name.sql`, never changed once released. `$database`, `$on_cluster` and `$settings` are filled in; engines
are written `@Replacing(version)` and become `ReplacingMergeTree` or its replicated form. On a cluster the tables of
`replicas.SHARDED` become `<name>_local` with a Distributed table of the old name; `@Local(name)` is where rows are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import resources

from destinations.clickhouse.names import literal, quote
from destinations.clickhouse.replicas import SHARDED, local

_ENGINE = re.compile(r"@(\w+)\(([^)]*)\)")
_ENGINES = {"Replacing": "ReplacingMergeTree", "ReplacingAny": "ReplacingMergeTree", "Plain": "MergeTree"}
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS \$database\.(\w+)")
_COMMENT = re.compile(r"\nCOMMENT ('(?:[^'\\]|\\.)*')\s*\Z")
# A part is on disk before the loader's position moves on; merged parts too, because the parts they replace are deleted.
_SYNCED = (
    "fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, "
    "min_compressed_bytes_to_fsync_after_merge = 1"
)
# Tables remember the tokens of their last inserts: without, an insert whose answer was lost would be there twice when it
# comes late. Replicas keep them in Keeper, for a week instead of an hour, so that an outage does not outlive them.
DURABLE = f"{_SYNCED}, non_replicated_deduplication_window = 1000"
REPLICATED = (
    f"{_SYNCED}, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    template: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the schema goes: a database, and the cluster's name where there is one."""

    database: str = "headwater"
    cluster: str = ""

    @property
    def settings(self) -> str:
        """Of every table."""
        return REPLICATED if self.cluster else DURABLE

    @property
    def on_cluster(self) -> str:
        """The ON CLUSTER clause, or nothing."""
        return f"ON CLUSTER {quote(self.cluster)}" if self.cluster else ""


def all_migrations() -> list[Migration]:
    """The migrations in order."""
    found = []
    for entry in resources.files(__name__).iterdir():
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def render(template: str, target: Target) -> list[str]:
    """The statements of a template, for one target."""
    text = re.sub(r"^--.*\n", "", template, flags=re.MULTILINE)
    found = [statement.strip() for statement in re.split(r";\s*(?:\n|\Z)", text) if statement.strip()]
    if target.cluster:
        found = [part for statement in found for part in _spread(statement, target)]
    return [_filled(statement, target) for statement in found]


def _spread(statement: str, target: Target) -> list[str]:
    """The statement, and for a table that is sharded the Distributed table over it."""
    table = _TABLE.match(statement)
    if table is None or table[1] not in SHARDED:
        return [statement]
    name = table[1]
    comment = _COMMENT.search(statement)
    where = ", ".join(map(literal, (target.cluster, target.database, local(name))))
    spread = (
        f"CREATE TABLE IF NOT EXISTS $database.{name} $on_cluster AS $database.{local(name)}\n"
        f"ENGINE = Distributed({where}, {SHARDED[name]})" + (f"\nCOMMENT {comment[1]}" if comment else "")
    )
    return [statement.replace(table[0], f"CREATE TABLE IF NOT EXISTS $database.{local(name)}", 1), spread]


def _filled(statement: str, target: Target) -> str:
    table = _TABLE.match(statement)
    sharded = table is not None and table[1].removesuffix("_local") in SHARDED
    text = _ENGINE.sub(lambda found: _engine(found[1], found[2], target, sharded=sharded), statement)
    text = text.replace("$database", quote(target.database)).replace("$on_cluster", target.on_cluster)
    return text.replace("$settings", target.settings)


def _engine(name: str, arguments: str, target: Target, *, sharded: bool) -> str:
    """An engine; replicas of a sharded table are those of the shard, of any other table all nodes."""
    if name == "Local":
        return local(arguments) if target.cluster else arguments
    engine = _ENGINES[name]
    if not target.cluster:
        return f"{engine}({arguments})"
    where = (
        "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
        if sharded
        else "'/clickhouse/tables/everywhere/{database}/{table}', '{shard}-{replica}'"
    )
    return f"Replicated{engine}({where}{', ' if arguments else ''}{arguments})"


def bookkeeping(target: Target) -> list[str]:
    """What must exist before the first migration: the database and the list of what was applied."""
    engine = _engine("Replacing", "applied_at", target, sharded=False)
    database = quote(target.database)
    table = (
        f"CREATE TABLE IF NOT EXISTS {database}.schema_migrations {target.on_cluster} ("
        "number UInt32 COMMENT 'number of the migration', name String COMMENT 'its name', "
        "applied_at DateTime64(3, 'UTC') COMMENT 'when it was applied') "
        f"ENGINE = {engine} ORDER BY number COMMENT 'Changes of the schema that were applied.'"
    )
    return [f"CREATE DATABASE IF NOT EXISTS {database} {target.on_cluster}", table]
