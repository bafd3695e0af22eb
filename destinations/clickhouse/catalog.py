"""What was seen where, and the views that follow from it. Pure: facts in, view definitions out.

A fact says that calls of one type (and event) from one source held a value of one kind at one path. Facts only ever get
more. A column's type is that of the first kind seen at its path and never changes; values of another kind that do not fit
it appear beside it in `<column>__raw`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from destinations.clickhouse import names
from destinations.clickhouse.columns import CONTEXT, SQL_TYPES
from destinations.clickhouse.names import literal, quote
from destinations.clickhouse.shapes import Path

# The table's rows inside a view. Its columns are named through it: an alias of the view (a property may be called `type` or
# `message_id`) would otherwise stand in for the column of that name in filters and expressions. No slug is `~`.
ROW = "`~`"
MAX_COLUMNS = 1_000  # of one view beside the common ones; the rest is in events.properties
KIND_TYPES = {
    "number": "Nullable(Float64)",
    "bool": "Nullable(Bool)",
    "string": "Nullable(String)",
    "array": "Nullable(String)",
}
RELATIONS = {
    "track": "tracks",
    "page": "pages",
    "screen": "screens",
    "identify": "identifies",
    "group": "groups",
    "alias": "aliases",
}


class Fact(NamedTuple):
    """A kind of value at a path (keys from the outside in); an empty path says that the event exists."""

    source_id: str
    type: str
    event: str
    origin: str
    path: Path
    kind: str


class View(NamedTuple):
    """A view to be made."""

    database: str
    name: str
    sql: str

    @property
    def fingerprint(self) -> str:
        """Changes when the definition does."""
        return blake2b(self.sql.encode(), digest_size=12).hexdigest()


@dataclass(slots=True)
class Relation:
    """One view in the making: whose rows it shows and which values they were seen to hold."""

    type: str
    event: str = ""
    source: str = ""  # empty: all sources
    paths: dict[tuple[str, Path], list[str]] = field(default_factory=dict)

    def learn(self, fact: Fact) -> bool:
        """Whether the fact was new here."""
        kinds = self.paths.setdefault((fact.origin, fact.path), [])
        if fact.kind in kinds:
            return False
        kinds.append(fact.kind)
        return True


class Column(NamedTuple):
    """A column of a view: its name, type, expression and comment."""

    name: str
    type: str
    sql: str
    comment: str


_COMMON: tuple[Column, ...] = (
    Column("id", "String", "message_id", "the messageId; the same in tracks and the table of the event"),
    Column("received_at", "DateTime64(3, 'UTC')", "received_at", "when the collector accepted it"),
    Column(
        "sent_at",
        "Nullable(DateTime64(3, 'UTC'))",
        "sent_at",
        "when the client sent it, by the client's clock",
    ),
    Column(
        "original_timestamp",
        "Nullable(DateTime64(3, 'UTC'))",
        "original_timestamp",
        "by the client's clock; not for analysis",
    ),
    Column(
        "timestamp",
        "DateTime64(3, 'UTC')",
        "timestamp",
        "when it happened, corrected for the client's clock; UTC",
    ),
    Column("anonymous_id", "Nullable(String)", "anonymous_id", "the device or browser"),
    Column("user_id", "Nullable(String)", "user_id", "the user"),
    Column("uuid_ts", "DateTime64(3, 'UTC')", "loaded_at", "when it was loaded"),
)
_SOURCE = Column("source_id", "LowCardinality(String)", "source_id", "the source that sent it")
_OF_TYPE: dict[str, tuple[Column, ...]] = {
    "track": (
        Column("event", "LowCardinality(String)", "event", "the event in snake_case"),
        Column("event_text", "LowCardinality(String)", "event_text", "the event as the app named it"),
    ),
    "page": (
        Column("name", "Nullable(String)", "name", "name of the page"),
        Column("category", "Nullable(String)", "category", "category of the page"),
    ),
    "screen": (
        Column("name", "Nullable(String)", "name", "name of the screen"),
        Column("category", "Nullable(String)", "category", "category of the screen"),
    ),
    "group": (Column("group_id", "Nullable(String)", "group_id", "the account"),),
    "alias": (Column("previous_id", "Nullable(String)", "previous_id", "the former id"),),
    "identify": (),
}
_CONTEXT = tuple(Column(c.name, SQL_TYPES[c.kind], c.name, c.comment) for c in CONTEXT)
_USER = (
    Column("id", "String", "id", "the userId"),
    Column("received_at", "Nullable(DateTime64(3, 'UTC'))", "last_seen", "time of the latest event"),
    Column("first_seen", "Nullable(DateTime64(3, 'UTC'))", "first_seen", "time of the first event"),
    Column("uuid_ts", "DateTime64(3, 'UTC')", "loaded_at", "when the row was loaded"),
)
_ACCOUNT = (
    Column("id", "String", "id", "the groupId"),
    Column("created_at", "Nullable(DateTime64(3, 'UTC'))", "created_at", "time of Account Created"),
    Column("deleted_at", "Nullable(DateTime64(3, 'UTC'))", "deleted_at", "time of Account Deleted"),
    Column("uuid_ts", "DateTime64(3, 'UTC')", "loaded_at", "when the row was loaded"),
)
_SETTINGS = (
    "SETTINGS do_not_merge_across_partitions_select_final = 1"  # the partition follows from the sort key
)


class Catalog:
    """All facts, and the relations they make up."""

    def __init__(self, database: str, sources: Iterable[str] = (), on_cluster: str = "") -> None:
        self.database, self._on_cluster = database, f" {on_cluster}" if on_cluster else ""
        self.relations: dict[tuple[str, str, str], Relation] = {}
        self._databases: dict[str, str] = {}
        self.add_sources(sources)

    def add_sources(self, sources: Iterable[str]) -> set[tuple[str, str, str]]:
        """Make the relations that every source has, before the first event; what is new."""
        fresh: set[tuple[str, str, str]] = set()
        for source in ("", *sorted(sources, key=lambda name: (names.slug(name) != name, name))):
            if source and source not in self._databases:
                taken = {*names.BUILT_IN_DATABASES, self.database, *self._databases.values()}
                wanted = names.slug(source)
                self._databases[source] = wanted if wanted not in taken else names.database(source, taken)
            for kind in (*RELATIONS, "user", "account"):
                if (source, kind, "") not in self.relations:
                    self.relations[source, kind, ""] = Relation(kind, "", source)
                    fresh.add((source, kind, ""))
        return fresh

    def learn(self, facts: Iterable[Fact]) -> set[tuple[str, str, str]]:
        """Add facts; the keys of the relations that changed."""
        changed: set[tuple[str, str, str]] = set()
        for fact in facts:
            if fact.source_id:
                changed |= self.add_sources((fact.source_id,))
            for key in _relations_of(fact, self._databases):
                relation = self.relations.setdefault(key, Relation(key[1], key[2], key[0]))
                if relation.learn(fact):
                    changed.add(key)
        return changed

    def databases(self) -> list[str]:
        """The databases of the sources."""
        return list(self._databases.values())

    def view(self, key: tuple[str, str, str]) -> View:
        """The definition of one relation's view."""
        relation = self.relations[key]
        database = self._databases[relation.source] if relation.source else self.database
        name = (
            names.relation(relation.event)
            if relation.event
            else RELATIONS.get(relation.type, relation.type + "s")
        )
        columns = list(_columns(relation))
        described = ",\n".join(f"    {quote(c.name)} {c.type} COMMENT {literal(c.comment)}" for c in columns)
        selected = ",\n".join(f"    {c.sql} AS {quote(c.name)}" for c in columns)
        sql = (
            f"CREATE OR REPLACE VIEW {quote(database)}.{quote(name)}{self._on_cluster}\n(\n{described}\n)\n"
            f"AS SELECT\n{selected}\n"
            f"FROM {_from(relation, quote(self.database))}\nCOMMENT {literal(_comment(relation))}"
        )
        return View(database, name, sql)


def _relations_of(fact: Fact, sources: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The relations a fact belongs to: across sources and of its own; tracks has no properties, only context."""
    if fact.type not in _OF_TYPE:
        yield from ((source, fact.type, "") for source in ("", *sources))
        return
    for source in ("", fact.source_id):
        if fact.type != "track":
            yield source, fact.type, ""
            continue
        if fact.origin == "context":
            yield source, "track", ""
        if fact.event:
            yield source, "track", names.slug(fact.event)


def _from(relation: Relation, database: str) -> str:
    if relation.type in ("user", "account"):
        if not relation.source:
            return f"{database}.{relation.type}_profiles AS {ROW} FINAL WHERE {ROW}.deleted = 0"
        column, kind = ("user_id", "identify") if relation.type == "user" else ("group_id", "group")
        return (
            f"{database}.{relation.type}_profiles AS {ROW} FINAL WHERE {ROW}.deleted = 0 AND {ROW}.id IN "
            f"(SELECT {column} FROM {database}.events "
            f"WHERE type = {literal(kind)} AND source_id = {literal(relation.source)} AND {column} IS NOT NULL)"
        )
    where = f"{ROW}.type = {literal(relation.type)}"
    if relation.event:
        where += f" AND {ROW}.event = {literal(relation.event)}"
    if relation.source:
        where += f" AND {ROW}.source_id = {literal(relation.source)}"
    return f"{database}.events AS {ROW} FINAL WHERE {where}\n{_SETTINGS}"


def _comment(relation: Relation) -> str:
    whose = f"of the source {relation.source}" if relation.source else "of all sources"
    if relation.type in ("user", "account"):
        return f"One row for each {relation.type} {whose}, with its latest traits."
    if relation.event:
        return f"One row for each track call {relation.event} {whose}, with its properties."
    return f"One row for each {relation.type} call {whose}."


def _columns(relation: Relation) -> Iterator[Column]:
    if relation.type in ("user", "account"):
        fixed: tuple[Column, ...] = _USER if relation.type == "user" else _ACCOUNT
    else:
        fixed = (*_COMMON, *_OF_TYPE[relation.type], *_CONTEXT, *(() if relation.source else (_SOURCE,)))
    yield from (column._replace(sql=f"{ROW}.{column.sql}") for column in fixed)
    taken = {column.name for column in fixed}
    by_name: dict[str, list[tuple[str, Path, list[str]]]] = {}
    for (origin, path), kinds in relation.paths.items():
        if path:
            by_name.setdefault(_column_name(origin, path, taken), []).append((origin, path, kinds))
    for count, (name, values) in enumerate(sorted(by_name.items())):
        if count >= MAX_COLUMNS:
            return
        yield from _value_columns(name, values)


def _column_name(origin: str, path: Path, taken: set[str]) -> str:
    """The column of a path. What is not context never looks like context."""
    if origin == "context":
        return names.avoid(names.path_slug("context_", path), taken)
    name = names.path_slug("", path)
    return names.avoid(f"_{name}" if name.startswith("context_") else name, taken)


def _value_columns(name: str, values: list[tuple[str, Path, list[str]]]) -> Iterator[Column]:
    """The column and, where kinds were mixed, its `__raw` sibling. An exactly named path wins, then the first by name."""
    ordered = sorted(values, key=lambda value: (len(value[1]) != 1 or value[1][0] != name, value[1]))
    kind = ordered[0][2][0]
    where = " or ".join(f"{origin} {'.'.join(path)}" for origin, path, _ in ordered[:4])
    mixed = len({seen for _, _, kinds in ordered for seen in kinds}) > 1
    typed = [_typed(origin, path, kind, mixed=mixed) for origin, path, _ in ordered]
    yield Column(name, KIND_TYPES[kind], _first(typed), f"{where} ({kind})")
    if mixed and kind in ("number", "bool"):
        raw = [
            f"if({value} IS NULL, {_text(origin, path)}, NULL)"
            for value, (origin, path, _) in zip(typed, ordered, strict=True)
        ]
        yield Column(
            f"{name}__raw", "Nullable(String)", _first(raw), f"{where} where it is no {kind}, as text"
        )


def _first(expressions: list[str]) -> str:
    return expressions[0] if len(expressions) == 1 else f"coalesce({', '.join(expressions)})"


def _typed(origin: str, path: Path, kind: str, *, mixed: bool) -> str:
    """An expression of the column's type; null where the value is of another kind."""
    if origin == "context":
        return _context_typed(path, kind, mixed=mixed)
    value = _value(origin, path)
    if kind == "bool":
        return f"accurateCastOrNull({value}, 'Bool')"
    if kind == "number":
        # Whole numbers beyond 2^53 that a double cannot hold exactly are rounded, not lost.
        return f"coalesce(accurateCastOrNull({value}, 'Float64'), toFloat64OrNull(toString({value})))"
    return _text(origin, path) if mixed or kind == "array" else f"CAST({value}, 'Nullable(String)')"


def _value(origin: str, path: Path) -> str:
    """The JSON column's value at a path. Names that the dotted form cannot write go through getSubcolumn."""
    parts = [part.replace(".", "%2E") for part in path]
    if all(parts):
        return ".".join((ROW, origin, *(quote(part) for part in parts)))
    return f"getSubcolumn({ROW}.{origin}, {literal(names.json_path(path))})"


def _text(origin: str, path: Path) -> str:
    """The value as text: strings as they are, arrays as JSON."""
    if origin == "context":
        return _context_typed(path, "string", mixed=True)
    value = _value(origin, path)
    return f"if(startsWith(dynamicType({value}), 'Array'), toJSONString({value}), CAST({value}, 'Nullable(String)'))"


def _context_typed(path: Path, kind: str, *, mixed: bool) -> str:
    keys = ", ".join(literal(part) for part in path)
    if kind in ("number", "bool"):
        return f"JSONExtract({ROW}.context, {keys}, {literal(KIND_TYPES[kind])})"
    raw = f"nullIf(nullIf(JSONExtractRaw({ROW}.context, {keys}), ''), 'null')"
    if kind == "array" and not mixed:
        return raw
    return f"if(JSONType({ROW}.context, {keys}) = 'String', JSONExtract({ROW}.context, {keys}, 'Nullable(String)'), {raw})"
