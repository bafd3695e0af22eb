"""Keeps the views in step with the catalog: facts are stored with their events, views follow in the background.

Several processes may load into one server. Facts are only ever added, and whoever makes a view looks afterwards whether
others know more: nothing needs to be locked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import orjson

from destinations.clickhouse.catalog import Catalog, Fact, View
from destinations.clickhouse.discovery import Discovery
from destinations.clickhouse.engine import Engine, EngineError
from destinations.clickhouse.migrations import Target
from destinations.clickhouse.names import quote
from destinations.clickhouse.troubles import OUTAGE
from headwater.clock import Clock
from headwater.timestamps import iso

logger = logging.getLogger(__name__)

_TABLE_ALREADY_EXISTS = 57
Key = tuple[str, str, str]
BATCH = 25  # views made in one go, so that a stop or an urgent insert never waits long


class Views:
    """The catalog in the database and the views made from it. Blocking; one thread stores, one makes."""

    def __init__(self, engine: Engine, target: Target, clock: Clock, max_events: int) -> None:
        self._engine, self._target, self._clock = engine, target, clock
        self._database = quote(target.database)
        self._made: dict[tuple[str, str], str] = {}
        self._databases: set[str] = set()
        self.catalog = Catalog(target.database, (), target.on_cluster)
        self.discovery = Discovery(max_events=max_events)
        self.dirty: dict[Key, None] = {}
        self._max_events = max_events

    def load(self, sources: Iterable[str]) -> None:
        """Read the stored facts; everything that differs from what was made becomes dirty. Raises EngineError."""
        facts = self._stored()
        made = self._engine.query(
            f"SELECT view_database, view_name, fingerprint FROM {self._database}.view_versions FINAL"
        )
        self._made = {(row[0], row[1]): row[2] for row in made}
        self.catalog = Catalog(self._target.database, sources, self._target.on_cluster)
        self.discovery = Discovery(facts, self._max_events)
        self.catalog.learn(facts)
        self._mark(self.catalog.relations)

    def _stored(self) -> list[Fact]:
        rows = self._engine.query(
            f"SELECT source_id, type, event, origin, path, kind FROM {self._database}.view_columns FINAL "
            "ORDER BY first_seen, kind = 'array', kind = 'string', kind = 'bool', path"
        )
        return [Fact(row[0], row[1], row[2], row[3], tuple(row[4]), row[5]) for row in rows]

    def follow(self) -> None:
        """Learn what other processes of the destination have stored; the views it concerns become dirty again.

        To be called after views were made: one that was made of less than another process knew is then made once more,
        so that the last one made, by whomever, has every column. Raises EngineError.
        """
        self._mark(self.catalog.learn(self._stored()))

    def add_sources(self, sources: Iterable[str]) -> None:
        """Make the views that a source has before its first event."""
        self._mark(self.catalog.add_sources(sources))

    def store(self, facts: Sequence[Fact]) -> None:
        """Write new facts down and mark their views. Raises EngineError; then nothing was learned."""
        now = iso(self._clock.now_ms())
        lines = [
            orjson.dumps({**fact._asdict(), "path": list(fact.path), "first_seen": now}) for fact in facts
        ]
        columns = (*Fact._fields, "first_seen")
        settings = {"date_time_input_format": "best_effort"}
        self._engine.insert_block(
            f"{self._database}.view_columns", columns, b"\n".join(lines), "JSONEachRow", settings
        )
        self._mark(self.catalog.learn(facts))

    def make_some(self) -> int:
        """Make up to BATCH dirty views; how many were looked at. A view that cannot be made is logged and skipped.

        Raises EngineError where a server is away; the views that were not made stay dirty.
        """
        keys = list(self.dirty)[:BATCH]
        made: list[View] = []
        for key in keys:
            del self.dirty[key]
            view = self.catalog.view(key)
            if self._made.get((view.database, view.name)) == view.fingerprint:
                continue
            try:
                self._create(view)
            except EngineError as error:
                if error.code in OUTAGE and not self._engine.embedded:
                    self._mark(keys[keys.index(key) :])
                    self._note(made)
                    raise
                logger.warning("view %s.%s cannot be made: %s", view.database, view.name, str(error)[:500])
                continue
            self._made[view.database, view.name] = view.fingerprint
            made.append(view)
        self._note(made)
        return len(keys)

    def _create(self, view: View) -> None:
        self._ensure(view.database)
        try:
            self._engine.command(view.sql)
        except EngineError as error:
            if error.code != _TABLE_ALREADY_EXISTS:
                raise
            self._engine.command(
                view.sql
            )  # another process made it in this moment: now there is one to replace

    def _note(self, made: Sequence[View]) -> None:
        """Write down which views were made, so that the next start makes only what changed."""
        if not made:
            return
        now = iso(self._clock.now_ms())
        rows = [
            {"view_database": v.database, "view_name": v.name, "fingerprint": v.fingerprint, "made_at": now}
            for v in made
        ]
        data = b"\n".join(map(orjson.dumps, rows))
        settings = {"date_time_input_format": "best_effort"}
        self._engine.insert_block(
            f"{self._database}.view_versions", tuple(rows[0]), data, "JSONEachRow", settings
        )

    def _mark(self, keys: Iterable[Key]) -> None:
        self.dirty.update(dict.fromkeys(keys))

    def _ensure(self, database: str) -> None:
        if database not in self._databases:
            self._engine.command(f"CREATE DATABASE IF NOT EXISTS {quote(database)} {self._target.on_cluster}")
            self._databases.add(database)
