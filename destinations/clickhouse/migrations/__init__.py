"""Numbered, forward-only changes of the schema, as SQL that fits one machine and a cluster alike.

A file is `NNNN_name.sql`, never changed once released. `$database`, `$on_cluster` and `$settings` are filled in; engines
are written `@Replacing(version)` and become `ReplacingMergeTree` or its replicated form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import resources

from destinations.clickhouse.names import quote

_ENGINE = re.compile(r"@(\w+)\(([^)]*)\)")
_ENGINES = {"Replacing": "ReplacingMergeTree", "ReplacingAny": "ReplacingMergeTree", "Plain": "MergeTree"}
# A part is on disk before the loader's position moves on; merged parts too, because the parts they replace are deleted.
DURABLE = (
    "fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, "
    "min_compressed_bytes_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000"
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
    settings: str = DURABLE

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
    text = _ENGINE.sub(lambda found: _engine(found[1], found[2], replicated=bool(target.cluster)), text)
    text = text.replace("$database", quote(target.database)).replace("$on_cluster", target.on_cluster)
    text = text.replace("$settings", target.settings)
    return [statement.strip() for statement in re.split(r";\s*(?:\n|\Z)", text) if statement.strip()]


def _engine(name: str, arguments: str, *, replicated: bool) -> str:
    engine = _ENGINES[name]
    if not replicated:
        return f"{engine}({arguments})"
    where = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
    return f"Replicated{engine}({where}{', ' if arguments else ''}{arguments})"


def bookkeeping(target: Target) -> list[str]:
    """What must exist before the first migration: the database and the list of what was applied."""
    engine = _engine("Replacing", "applied_at", replicated=bool(target.cluster))
    database = quote(target.database)
    table = (
        f"CREATE TABLE IF NOT EXISTS {database}.schema_migrations {target.on_cluster} ("
        "number UInt32 COMMENT 'number of the migration', name String COMMENT 'its name', "
        "applied_at DateTime64(3, 'UTC') COMMENT 'when it was applied') "
        f"ENGINE = {engine} ORDER BY number COMMENT 'Changes of the schema that were applied.'"
    )
    return [f"CREATE DATABASE IF NOT EXISTS {database} {target.on_cluster}", table]
