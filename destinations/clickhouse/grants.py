"""The SQL that makes a user for the loader and one for analysts, each with the rights it needs and no others. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from destinations.clickhouse.catalog import Catalog
from destinations.clickhouse.engine import ANALYST_SETTINGS
from destinations.clickhouse.migrations import Target
from destinations.clickhouse.names import literal, quote
from destinations.clickhouse.replicas import local

_SYSTEM = ("tables", "settings", "processes")


@dataclass(frozen=True, slots=True)
class Login:
    """A user to be made; the password appears only as its salted hash."""

    name: str
    password: str
    salt: str

    @property
    def identified(self) -> str:
        """The clause of CREATE USER."""
        digest = sha256(f"{self.password}{self.salt}".encode()).hexdigest().upper()
        return f"IDENTIFIED WITH sha256_hash BY {literal(digest)} SALT {literal(self.salt)}"


def loader_rights(target: Target, sources: Iterable[str]) -> list[str]:
    """What the loader may do, as GRANT statements without their user."""
    database = quote(target.database)
    events = quote(local("events") if target.cluster else "events")
    engines = ["ReplacingMergeTree"]
    if target.cluster:
        engines = ["ReplicatedReplacingMergeTree", "Distributed"]
    rights = [
        f"CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, SELECT, INSERT ON {database}.*",
        f"ALTER MODIFY SETTING ON {database}.{events}",
        *(
            f"CREATE DATABASE, CREATE VIEW, DROP VIEW ON {quote(name)}.*"
            for name in _databases(target, sources)
        ),
        *(f"SELECT ON system.{table}" for table in _SYSTEM),
        *(f"TABLE ENGINE ON {engine}" for engine in engines),
    ]
    if target.cluster:
        # other servers' rows are read through clusterAllReplicas, a table function, and written through Distributed tables
        rights += ["SELECT ON system.clusters", "SELECT ON system.replicas", "CLUSTER ON *.*"]
        rights += ["CREATE TEMPORARY TABLE ON *.*", "READ, WRITE ON REMOTE"]
    return [f"GRANT {right}" for right in rights]


def analyst_rights(target: Target, sources: Iterable[str]) -> list[str]:
    """What an analyst may do: read, and nothing else."""
    names = (target.database, *_databases(target, sources))
    return [f"GRANT SELECT ON {quote(name)}.*" for name in names]


def statements(target: Target, sources: Iterable[str], loader: Login, analyst: Login) -> list[str]:
    """Everything to be run once by an administrator; running it again changes nothing."""
    known = tuple(sources)
    where = f" {target.on_cluster}" if target.cluster else ""
    settings = ", ".join(f"{name} = {literal(value)}" for name, value in ANALYST_SETTINGS.items())
    return [
        f"CREATE USER IF NOT EXISTS {quote(loader.name)}{where} {loader.identified}",
        *_granted(loader_rights(target, known), loader, where),
        f"CREATE USER IF NOT EXISTS {quote(analyst.name)}{where} {analyst.identified} SETTINGS readonly = 2, {settings}",
        *_granted(analyst_rights(target, known), analyst, where),
    ]


def _granted(rights: Iterable[str], user: Login, where: str) -> list[str]:
    return [f"GRANT{where}{right.removeprefix('GRANT')} TO {quote(user.name)}" for right in rights]


def _databases(target: Target, sources: Iterable[str]) -> list[str]:
    return Catalog(target.database, sources).databases()
