"""docs/analyst/tables.md describes every table, view and column as the running engine has them, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.running import Running

PAGE = (Path(__file__).parents[2] / "docs" / "analyst" / "tables.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
CALLS = ("tracks", "pages", "screens", "identifies", "groups", "aliases")
PEOPLE = ("users", "accounts")
EVENTS = {
    "account_added_user",
    "account_created",
    "dashboard_created",
    "filter_saved",
    "invite_sent",
    "report_exported",
}
EVENTS |= {"report_viewed", "signed_up", "subscription_started", "trial_started"}

pytestmark = pytest.mark.engine


def documented(heading: str) -> dict[str, str]:
    """Name and type of each column below a heading, in the page's order."""
    found = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no section {heading}"
    rows = ROW.findall(found[1])
    assert all(meaning.strip() for _, _, meaning in rows)
    return {name: kind.strip() for name, kind, _ in rows}


def real(demo: Running, database: str, table: str) -> dict[str, str]:
    """Name and type of each column as the engine has them, in its order."""
    rows = demo.sql(
        "SELECT name, type FROM system.columns WHERE database = {d:String} AND table = {t:String} ORDER BY position",
        d=database,
        t=table,
    )
    return {row["name"]: row["type"] for row in rows}


def relations(demo: Running, engine: str) -> set[str]:
    """Tables (`%MergeTree`) or views of the database `headwater` that are there whatever events came."""
    rows = demo.sql(
        "SELECT name FROM system.tables WHERE database = 'headwater' AND engine LIKE {e:String}", e=engine
    )
    return {row["name"] for row in rows}


def test_every_table_is_documented_column_by_column(demo: Running) -> None:
    """Names, types and order of the base tables are those of the engine; no table is left out."""
    tables = relations(demo, "%MergeTree")
    assert tables == set(re.findall(r"^### `headwater\.(\w+)`$", PAGE, re.MULTILINE))
    for table in tables:
        assert list(documented(f"`headwater.{table}`").items()) == list(
            real(demo, "headwater", table).items()
        )


@pytest.mark.parametrize(
    "view", ["memberships", "identities", "dropped", "deliveries", "resolved_events", "sessions"]
)
def test_a_fixed_view_is_documented_column_by_column(demo: Running, view: str) -> None:
    """Names, types and order are those of the engine."""
    assert list(documented(f"`{view}`").items()) == list(real(demo, "headwater", view).items())


@pytest.mark.parametrize("view", CALLS)
def test_a_view_of_calls_has_the_documented_columns(demo: Running, view: str) -> None:
    """Common, own and context columns make up the view of a source without events; `headwater` adds the source."""
    context = {
        name: kind for name, kind in documented("`headwater.events`").items() if name.startswith("context_")
    }
    expected = {**documented("Views of calls"), **documented(f"`{view}`"), **context}
    assert real(demo, "phone", view) == expected
    across = real(demo, "headwater", view)
    assert {name: across.get(name) for name in expected} == expected
    assert across["source_id"] == "LowCardinality(String)"


@pytest.mark.parametrize("view", PEOPLE)
def test_a_view_of_people_begins_with_the_documented_columns(demo: Running, view: str) -> None:
    """The fixed columns come first, traits after them."""
    expected = list(documented(f"`{view}`").items())
    assert list(real(demo, "headwater", view).items())[: len(expected)] == expected


def test_no_view_is_undocumented(demo: Running) -> None:
    """Every view that is not of an event has a section, and every section a view."""
    sections = set(re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE))
    views = relations(demo, "View")
    events = {
        row["event"] for row in demo.sql("SELECT DISTINCT event FROM headwater.events WHERE event != ''")
    }
    assert events >= EVENTS
    assert views - events == sections


def test_every_relation_and_column_says_what_it_is(demo: Running) -> None:
    """The page sends readers to the comments, so there are comments."""
    silent = demo.sql(
        "SELECT table, name FROM system.columns WHERE database IN ('headwater', 'web', 'api') AND comment = ''"
    )
    tables = demo.sql(
        "SELECT name FROM system.tables WHERE database IN ('headwater', 'web', 'api') AND comment = ''"
    )
    assert (silent, tables) == ([], [])
