"""The schema as it is sent, for one server and for a cluster, in files that a reviewer reads: clickhouse_ddl/*.sql.

`python -m tests.golden.test_clickhouse_ddl` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from destinations.clickhouse import grants
from destinations.clickhouse.catalog import Catalog, Fact
from destinations.clickhouse.engine import ClickHouse, open_embedded
from destinations.clickhouse.migrations import Target, all_migrations, bookkeeping, render
from destinations.clickhouse.names import literal
from destinations.clickhouse.replicas import Replicas

pytestmark = pytest.mark.engine
FOLDER = Path(__file__).parent / "clickhouse_ddl"
CLUSTER = Replicas("main", "headwater")
USERS = grants.Login("headwater", "secret", "salt"), grants.Login("headwater_analyst", "other", "grain")


def statements(target: Target) -> list[str]:
    """All of one target: tables, fixed views, one view of an event, users."""
    catalog = Catalog(target.database, ["web"], target.on_cluster)
    catalog.learn([Fact("web", "track", "order_completed", "properties", ("total",), "number")])
    made = [statement for one in all_migrations() for statement in render(one.template, target)]
    views = [catalog.view(key).sql for key in (("web", "track", "order_completed"), ("", "user", ""))]
    return [*bookkeeping(target), *made, *views]


FILES = {
    "server.sql": statements(Target()),
    "cluster.sql": statements(Target(cluster="main")),
    "server_users.sql": grants.statements(Target(), ["web"], *USERS),
    "cluster_users.sql": grants.statements(Target(cluster="main"), ["web"], *USERS),
    "cluster_questions.sql": [
        CLUSTER.check(), CLUSTER.is_whole("events"), CLUSTER.is_whole("user_profiles"),
        f"SELECT log_offset FROM {CLUSTER.rows('events')}",
    ],
}  # fmt: skip


def text(name: str) -> str:
    """A file's content."""
    return "".join(f"{statement};\n\n" for statement in FILES[name])


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """The engine, for its parser."""
    opened = open_embedded(tmp_path_factory.mktemp("ddl"))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", FILES)
def test_the_schema_is_the_one_in_the_files(name: str) -> None:
    """A change of the schema is seen in the review."""
    assert text(name) == (FOLDER / name).read_text(), (
        "python -m tests.golden.test_clickhouse_ddl writes it anew"
    )


@pytest.mark.parametrize("name", FILES)
def test_the_engine_parses_every_statement(parser: ClickHouse, name: str) -> None:
    """What cannot run without Keeper is at least what ClickHouse can read, and reads as one statement."""
    for statement in FILES[name]:
        ((formatted,),) = parser.query(f"SELECT formatQuery({literal(statement)})")
        assert formatted


def test_every_setting_of_the_tables_exists(parser: ClickHouse) -> None:
    """Those of replicated tables too, which no engine here can make."""
    known = {row[0] for row in parser.query("SELECT name FROM system.merge_tree_settings")}
    for name in ("server.sql", "cluster.sql"):
        for clause in re.findall(r"^SETTINGS (.*)$", text(name), re.MULTILINE):
            assert (
                set(re.findall(r"(\w+) = ", clause)) - {"do_not_merge_across_partitions_select_final"}
                <= known
            )


def test_tables_are_either_sharded_or_whole_on_every_node() -> None:
    """A sharded table has its rows below `_local` and the Distributed table over it; the others have one place in Keeper."""
    made = dict(
        re.findall(
            r"CREATE TABLE IF NOT EXISTS `headwater`\.(\w+) (?:.|\n)*?ENGINE = (.*)", text("cluster.sql")
        )
    )
    for name, engine in made.items():
        if f"{name}_local" in made:
            assert engine.startswith(f"Distributed('main', 'headwater', '{name}_local', cityHash64(")
        elif name.endswith("_local"):
            assert "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'" in engine
        else:
            assert "'/clickhouse/tables/everywhere/{database}/{table}', '{shard}-{replica}'" in engine


if __name__ == "__main__":
    for name in FILES:
        (FOLDER / name).write_text(text(name), encoding="utf-8")
