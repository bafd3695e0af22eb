"""Views: Segment's names, columns and SQL over the one event table, whatever customers call their things."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from destinations.clickhouse import names, writer
from destinations.clickhouse.catalog import Fact
from destinations.clickhouse.engine import ClickHouse, EngineError
from destinations.clickhouse.mapping import Mapper, Place
from destinations.clickhouse.migrations import Target
from destinations.clickhouse.views import Views
from headwater.clock import ManualClock

pytestmark = pytest.mark.engine

HOSTILE = [
    "Order`Completed", "x'); DROP TABLE events; --", "注册", "Привет Мир", "😀", "select", "Users", "tracks", "a" * 300,
    "back\\slash", "nul\x00byte", "101 Things", "per%cent", "ünïcode", "a.b.c", "два\nдня", "{x:String}", "${y}",
]  # fmt: skip


class Warehouse:
    """Events in, views made, SQL out."""

    def __init__(self, engine: ClickHouse) -> None:
        self.engine, self.mapper, self.count = engine, Mapper(), 0
        self.views = Views(engine, Target(), ManualClock(), 20_000)
        self.views.load(["web", "api"])

    def load(self, *events: dict[str, Any]) -> None:
        """Load events and make the views that follow."""
        rows = []
        for event in events:
            self.count += 1
            common = {"type": "track", "messageId": f"m{self.count}", "sourceId": "web", "anonymousId": "a"}
            times = {"receivedAt": "2024-01-01T00:00:00.000Z", "timestamp": "2024-01-01T00:00:00.000Z"}
            line = json.dumps({**common, **times, **event}).encode()
            rows.append(self.mapper.row(line, Place(0, self.count, 0), 1_704_067_200_000 + self.count))
        for payload in writer.encode(rows):
            self.engine.insert_block(
                "headwater.events", writer.EVENT_COLUMNS, payload.data, payload.format, writer.TEXT_SETTINGS
            )
        facts = self.views.discovery.events(rows)
        if facts:
            self.views.store(facts)
        while self.views.make_some():
            pass

    def query(self, sql: str) -> list[list[Any]]:
        """Rows of a query on an analyst's connection."""
        client = self.engine.readonly_client()
        try:
            return [json.loads(line) for line in client.raw_query(sql, fmt="JSONCompactEachRow").splitlines()]
        finally:
            client.close()


@pytest.fixture
def warehouse(engine: ClickHouse) -> Warehouse:
    """An empty event table; views of earlier tests may be left over."""
    for table in ("events", "view_columns"):
        engine.command(f"TRUNCATE TABLE headwater.{table}")
    return Warehouse(engine)


def test_each_event_has_its_relation(warehouse: Warehouse) -> None:
    """Across sources and per source, with the event's own columns; tracks has none of them."""
    warehouse.load({"event": "Order Completed", "properties": {"total": 5, "orderId": "o1"}})
    warehouse.load({"event": "Order Completed", "sourceId": "api", "properties": {"total": 7.5}})
    assert warehouse.query("SELECT total, order_id FROM headwater.order_completed ORDER BY id") == [
        [5, "o1"],
        [7.5, None],
    ]
    assert warehouse.query("SELECT id, event, event_text FROM web.order_completed") == [
        ["m1", "order_completed", "Order Completed"]
    ]
    assert warehouse.query("SELECT count() FROM headwater.tracks") == [[2]]
    columns = warehouse.query("SELECT name FROM system.columns WHERE database = 'web' AND table = 'tracks'")
    assert ["total"] not in columns
    assert ["context_page_url"] in columns


def test_every_source_has_segments_tables_before_its_first_event(warehouse: Warehouse) -> None:
    """SQL that was written for Segment finds its tables, empty."""
    warehouse.load({"event": "x"})
    for name in ("tracks", "pages", "screens", "identifies", "groups", "aliases", "users", "accounts"):
        assert warehouse.query(f"SELECT count() FROM api.{name}") == [[0]]


@pytest.mark.parametrize("event", HOSTILE, ids=ascii)
def test_hostile_event_names(warehouse: Warehouse, event: str) -> None:
    """Any name has a relation that shows its rows and harms no other."""
    warehouse.load({"event": event, "properties": {"plan": "pro"}}, {"event": "Other"})
    name = names.quote(names.relation(event))
    assert warehouse.query(f"SELECT event_text, plan FROM headwater.{name}") == [[event, "pro"]]
    assert warehouse.query("SELECT count() FROM headwater.tracks") == [[2]]


@pytest.mark.parametrize(
    "key", [*HOSTILE, "", "$", "__proto__", "event", "id", "user_id", "context_ip", "Timestamp"], ids=ascii
)
def test_hostile_property_names(warehouse: Warehouse, key: str) -> None:
    """Any property is a column that shows its value; the common columns stay what they are."""
    warehouse.load({"event": "Hostile Keys", "properties": {key: "v"}, "context": {"ip": "1.2.3.4"}})
    shown = warehouse.query("SELECT * FROM headwater.hostile_keys")[0]
    assert shown.count("v") == 1
    assert warehouse.query("SELECT id, event_text, context_ip FROM headwater.hostile_keys") == [
        ["m1", "Hostile Keys", "1.2.3.4"]
    ]


def test_properties_named_like_columns_of_the_table_change_no_other_column(warehouse: Warehouse) -> None:
    """A view filters and computes with the table's own columns, whatever a property is called."""
    keys = [*writer.EVENT_COLUMNS, "deleted", "version", "last_seen"]
    warehouse.load(
        {"event": "Shadow", "properties": dict.fromkeys(keys, "v"), "context": {"ip": "1.2.3.4", "x": "y"}}
    )
    own = "id, event, event_text, source_id, context_ip, context_x"
    expected = [["m1", "shadow", "Shadow", "web", "1.2.3.4", "y"]]
    assert warehouse.query(f"SELECT {own} FROM headwater.shadow") == expected
    assert warehouse.query("SELECT id, type FROM web.shadow") == [["m1", "v"]]
    assert warehouse.query("SELECT toYear(uuid_ts) FROM web.shadow") == [[2024]]
    for name in ("users", "accounts"):
        shadows = [
            Fact("web", name[:-1], "", "traits", (key,), "string")
            for key in ("deleted", "last_seen", "loaded_at")
        ]
        warehouse.views.store(shadows)
        while warehouse.views.make_some():
            pass
        table = "user_profiles" if name == "users" else "account_profiles"
        warehouse.engine.command(f"TRUNCATE TABLE headwater.{table}")
        warehouse.engine.command(
            f"INSERT INTO headwater.{table} (id, traits, version, deleted, loaded_at) "
            """VALUES ('u1', '{"deleted": "v"}', 1, 0, '2024-01-01 00:00:00.000')"""
        )
        assert warehouse.query(f"SELECT id, deleted FROM headwater.{name}") == [["u1", "v"]]


def test_whole_numbers_beyond_doubles_are_rounded_not_lost(warehouse: Warehouse) -> None:
    """The view shows the nearest double; the event table keeps every digit."""
    warehouse.load({"event": "Big", "properties": {"n": 9_007_199_254_740_993}})
    assert warehouse.query("SELECT n FROM headwater.big") == [[9_007_199_254_740_992]]
    assert warehouse.query("SELECT toString(properties.n) FROM headwater.events") == [["9007199254740993"]]


def test_nested_values_and_arrays_are_flattened(warehouse: Warehouse) -> None:
    """Objects become columns joined by underscores, arrays JSON text."""
    products = [{"sku": "a", "price": 1.5}]
    warehouse.load(
        {
            "event": "Cart",
            "properties": {"Address": {"postalCode": "1"}, "products": products, "tags": ["x", "y"]},
        }
    )
    row = warehouse.query("SELECT address_postal_code, products, tags FROM headwater.cart")[0]
    assert (row[0], json.loads(row[1]), json.loads(row[2])) == ("1", products, ["x", "y"])


def test_a_property_that_changes_type_keeps_its_column(warehouse: Warehouse) -> None:
    """The first kind decides for ever; what does not fit is readable in the sibling column."""
    warehouse.load({"event": "Typed", "properties": {"v": 1}})
    before = warehouse.query(
        "SELECT type FROM system.columns WHERE database = 'headwater' AND table = 'typed' AND name = 'v'"
    )
    for value in ("19.00", "many", True, [1], 2.5, None):
        warehouse.load({"event": "Typed", "properties": {"v": value}})
    after = warehouse.query(
        "SELECT type FROM system.columns WHERE database = 'headwater' AND table = 'typed' AND name = 'v'"
    )
    assert before == after == [["Nullable(Float64)"]]
    rows = warehouse.query("SELECT v, v__raw FROM headwater.typed ORDER BY id")
    assert rows == [
        [1, None],
        [19, None],
        [None, "many"],
        [1, None],
        [None, "[1]"],
        [2.5, None],
        [None, None],
    ]


def test_a_text_property_shows_every_later_kind_as_text(warehouse: Warehouse) -> None:
    """Text columns hold anything."""
    for value in ("a", 1, True, ["x"]):
        warehouse.load({"event": "Texts", "properties": {"v": value}})
    assert warehouse.query("SELECT v FROM headwater.texts ORDER BY id") == [["a"], ["1"], ["true"], ['["x"]']]


def test_colliding_properties_share_a_column(warehouse: Warehouse) -> None:
    """The exactly named one wins, the other fills the gaps."""
    warehouse.load(
        {"event": "Clash", "properties": {"userName": "b", "user_name": "a"}},
        {"event": "Clash", "properties": {"userName": "c"}},
    )
    assert warehouse.query("SELECT user_name FROM headwater.clash ORDER BY id") == [["a"], ["c"]]


def test_context_beyond_the_typed_columns_is_flattened(warehouse: Warehouse) -> None:
    """utm_x and traits of mobile SDKs are columns as in Segment's tables."""
    context = {"campaign": {"x": "y"}, "traits": {"age": 3, "tags": ["a"]}, "amp": {"id": "z"}}
    warehouse.load({"event": "Ctx", "context": context})
    sql = (
        "SELECT context_campaign_x, context_traits_age, context_traits_tags, context_amp_id FROM headwater.{}"
    )
    assert (
        warehouse.query(sql.format("ctx"))
        == warehouse.query(sql.format("tracks"))
        == [["y", 3, '["a"]', "z"]]
    )


def test_traits_are_columns_of_identifies_and_groups(warehouse: Warehouse) -> None:
    """One column a trait."""
    warehouse.load({"type": "identify", "userId": "u", "traits": {"email": "a@b.test", "firstName": "A"}})
    warehouse.load({"type": "group", "groupId": "g", "traits": {"employees": 5}})
    assert warehouse.query("SELECT user_id, email, first_name FROM web.identifies") == [
        ["u", "a@b.test", "A"]
    ]
    assert warehouse.query("SELECT group_id, employees FROM web.groups") == [["g", 5]]


def test_every_view_and_column_has_a_comment(warehouse: Warehouse) -> None:
    """Also those that follow the data."""
    warehouse.load({"event": "Commented", "properties": {"a": 1, "b'": {"c`": "x"}}})
    for table, column in (("tables", "name"), ("columns", "table")):
        where = "database IN ('headwater', 'web', 'api') AND comment = ''"
        assert warehouse.query(f"SELECT {column} FROM system.{table} WHERE {where}") == []


def test_a_restart_makes_only_what_changed(warehouse: Warehouse) -> None:
    """Facts and fingerprints survive: the second start makes no view again, and knows every column."""
    warehouse.load({"event": "Kept", "properties": {"a": 1}})
    again = Views(warehouse.engine, Target(), ManualClock(), 20_000)
    again.load(["web", "api"])
    made = warehouse.query("SELECT count() FROM headwater.view_versions")
    while again.make_some():
        pass
    assert warehouse.query("SELECT count() FROM headwater.view_versions") == made
    assert again.discovery.facts == warehouse.views.discovery.facts
    again.store([Fact("web", "track", "kept", "properties", ("b",), "string")])
    assert len(again.dirty) == 2


def test_a_view_made_of_less_than_another_process_knew_is_made_again(warehouse: Warehouse) -> None:
    """Two loaders learn different columns of one event: whoever makes its view last, it has both in the end."""
    other = Views(warehouse.engine, Target(), ManualClock(), 20_000)
    other.load(["web", "api"])
    other.store([Fact("web", "track", "shared", "properties", ("b",), "string")])
    warehouse.load({"event": "shared", "properties": {"a": 1}})
    while other.make_some():
        pass
    assert _columns(warehouse, "shared") == {"b"}, "the case to be mended: the later definition knew less"
    for views in (other, warehouse.views):
        views.follow()
        while views.make_some():
            views.follow()
    assert _columns(warehouse, "shared") == {"a", "b"}
    warehouse.views.follow()
    assert not warehouse.views.dirty, "what everybody knows is made no further time"


def test_a_view_that_another_process_made_in_the_same_moment_is_replaced(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says that it is there already; asked once more it replaces it."""
    command, refused = warehouse.engine.command, list[str]()

    def refuse_once(sql: str) -> None:
        if "VIEW" in sql and sql not in refused:
            refused.append(sql)
            raise EngineError("Code: 57. Table web.raced already exists", 57)
        command(sql)

    monkeypatch.setattr(warehouse.engine, "command", refuse_once)
    warehouse.load({"event": "raced", "properties": {"a": 1}})
    assert _columns(warehouse, "raced") == {"a"}
    assert refused


def _columns(warehouse: Warehouse, view: str) -> set[str]:
    rows = warehouse.query(f"SELECT name FROM system.columns WHERE database = 'web' AND table = '{view}'")
    return {row[0] for row in rows} & {"a", "b"}


def test_segments_guides_run_unchanged(warehouse: Warehouse) -> None:
    """The published queries: page addresses, a journey, customers by order (6.6 and 6.9 of the guides)."""
    page = {
        "type": "page",
        "name": "W",
        "properties": {"url": "https://x.test/warehouses?ttg=2", "search": "?ttg=2"},
    }
    order = {"event": "Order Completed", "userId": "u1", "properties": {"total": 30, "checkout_id": "c1"}}
    warehouse.load(page, order, {**order, "properties": {"total": 10, "checkout_id": "c2"}})
    warehouse.load({"type": "identify", "userId": "u1", "traits": {"email": "u1@x.test"}})
    assert warehouse.query("SELECT received_at, url FROM web.pages WHERE url LIKE '%/warehouses%' AND search LIKE '%ttg=2' ORDER BY received_at") == [
        ["2024-01-01 00:00:00.000", "https://x.test/warehouses?ttg=2"]
    ]  # fmt: skip
    customers = """SELECT i.email, count(DISTINCT o.checkout_id), datediff('day', max(o.received_at), '2024-01-03'::date), avg(o.total)
        FROM web.identifies AS i LEFT JOIN web.order_completed AS o ON o.user_id = i.user_id GROUP BY 1"""
    assert warehouse.query(customers) == [["u1@x.test", 2, 2, 20]]
    journey = "SELECT url AS what, received_at FROM web.pages UNION SELECT event_text, received_at FROM web.tracks ORDER BY 2 DESC, 1"
    assert {row[0] for row in warehouse.query(journey)} == {
        "Order Completed",
        "https://x.test/warehouses?ttg=2",
    }
    missed = "SELECT count(o.total) FROM web.pages p LEFT JOIN web.order_completed o ON o.id = p.id"
    assert warehouse.query(missed) == [[0]]


def test_sessions_and_resolved_people(warehouse: Warehouse) -> None:
    """A pause of more than half an hour starts a session; an anonymous visitor is resolved by what is known now."""
    times = ["00:00", "00:10", "00:50", "01:00"]
    warehouse.load(
        *({"type": "page", "anonymousId": "a9", "timestamp": f"2024-01-01T{t}:00.000Z"} for t in times)
    )
    warehouse.engine.command(
        "INSERT INTO headwater.identity_facts (anonymous_id, user_id, version) VALUES ('a9', 'u9', 1)"
    )
    assert warehouse.query("SELECT person_id, events FROM headwater.sessions ORDER BY started_at") == [
        ["u9", 2],
        ["u9", 2],
    ]
    warehouse.engine.command("TRUNCATE TABLE headwater.identity_facts")
    assert warehouse.query("SELECT DISTINCT person_id FROM headwater.sessions") == [["a9"]]


def test_ten_thousand_events_do_not_hold_loading_up(warehouse: Warehouse) -> None:
    """Storing the facts of ten thousand new events is one insert; views are made a few at a time afterwards."""
    facts = [Fact("web", "track", f"event_{n}", "properties", ("a",), "number") for n in range(10_000)]
    started = time.perf_counter()
    warehouse.views.store(facts)
    stored = time.perf_counter() - started
    assert stored < 3
    assert len(warehouse.views.dirty) >= 20_000
    started = time.perf_counter()
    assert warehouse.views.make_some() == 25
    assert time.perf_counter() - started < 3


def test_events_beyond_the_bound_stay_in_the_table(
    engine: ClickHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """More events than max_views: loaded, found in tracks, said once; no further views."""
    engine.command("TRUNCATE TABLE headwater.view_columns")
    few = Warehouse(engine)
    few.views = Views(engine, Target(), ManualClock(), 3)
    few.views.load(["web"])
    few.load(*({"event": f"Bounded {n}"} for n in range(9)))
    assert len({key for key in few.views.catalog.relations if key[2]}) <= 6
    assert caplog.text.count("no more max_views") == 1
