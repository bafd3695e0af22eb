"""Loading a cluster: through Distributed tables of the real engine, with Keeper's part played by a table.

One node stands for the cluster, so replication itself is ClickHouse's to prove; what is proven here is what Headwater asks
of it, and that rows arrive once whatever fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import Raw

from destinations.clickhouse import inserter
from destinations.clickhouse import loader as loader_module
from headwater import profile
from headwater.log import topics
from headwater.log.memory import MemoryLog
from tests.support.clickhouse_faults import INSERT, Fault
from tests.support.clickhouse_server import CLUSTER
from tests.unit.destinations.clickhouse.loading import base_rows, entry, event, loaded, loading, until
from tests.unit.destinations.clickhouse_server.conftest import Warehouse

pytestmark = [pytest.mark.engine, pytest.mark.slow]
IDS = [f"m{n:02}" for n in range(20)]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    """A server that is a cluster of itself."""
    return {"server": {"cluster": True}, "destination": {"cluster": CLUSTER}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a hundredth."""
    monkeypatch.setattr(inserter, "_BACKOFF_S", (0.001, 0.01))
    monkeypatch.setattr(inserter, "_LOOK_S", 0.05)
    monkeypatch.setattr(loader_module, "_RESTART_S", (0.05,))


async def filled() -> MemoryLog:
    """Twenty events and a person."""
    log = MemoryLog()
    user = profile.User("u1", {"email": (Raw(b'"a@b.test"'), 5)}, first_seen=1, last_seen=5)
    lines = [event(one, userId="u1", properties={"total": 1}) for one in IDS]
    await log.append([entry(*lines), entry(profile.encode(user), topic=topics.PROFILES, key=b"user:u1")])
    return log


async def test_rows_go_through_the_distributed_tables_and_views_read_them(warehouse: Warehouse) -> None:
    """Events, views, people, and the views that join them, on the cluster's tables."""
    log = await filled()
    async with loading(warehouse.engine(), log, **warehouse.config()) as loader:
        await loaded(log, (topics.PROCESSED, topics.PROFILES))
        await until(lambda: not loader.views.dirty)
    look = warehouse.direct.query
    assert base_rows(warehouse.direct) == IDS
    assert look("SELECT count() FROM headwater.events_local") == [[20]]
    assert look("SELECT sum(total) FROM web.order_completed") == [[20]]
    await until(lambda: bool(look("SELECT 1 FROM system.columns WHERE table = 'users' AND name = 'email'")))
    assert look("SELECT id, email FROM headwater.users") == [["u1", "a@b.test"]]
    assert look("SELECT uniqExact(person_id), count() FROM headwater.resolved_events") == [[1, 20]]
    assert look("SELECT events FROM headwater.sessions") == [[20]]
    assert look("SELECT count() FROM web.users")[0][0] in (0, 1)
    commented = "SELECT name FROM system.columns WHERE database = 'headwater' AND comment = ''"
    assert look(commented) == []


async def test_an_insert_is_answered_when_the_shards_and_a_quorum_have_it(warehouse: Warehouse) -> None:
    """The settings that make an acknowledged insert survive a lost replica, and DDL not wait for one that is down."""
    log = await filled()
    async with loading(warehouse.engine(), log, **warehouse.config(views=False)):
        await loaded(log)
    for request in warehouse.faults.statements(INSERT):
        assert request.settings["distributed_foreground_insert"] == "1"
        assert request.settings["insert_quorum"] == "auto"
        assert request.settings["insert_quorum_timeout"] == "60000"
    tables = warehouse.faults.statements("CREATE TABLE")
    assert all("ON CLUSTER `main`" in one.statement for one in tables)
    assert {one.settings["distributed_ddl_output_mode"] for one in tables} == {"throw_only_active"}


FAULTS = {
    "reset after the effect": [Fault(INSERT, when="after")],
    "a quorum that was not reached": [Fault(INSERT, 285), Fault(INSERT, 286, "after")],
    "a replica without Keeper": [Fault(INSERT, 242, times=3)],
    "unknown status": [Fault(INSERT, 319, "after")],
    "a shard that does not answer": [Fault(INSERT, 279, times=2)],
    "replicas that cannot be asked": [
        Fault(INSERT, 1000, "after"),
        Fault("clusterAllReplicas", 279, times=2),
    ],
}


@pytest.mark.parametrize("script", FAULTS.values(), ids=FAULTS)
async def test_each_event_is_there_once_on_a_cluster_after(
    warehouse: Warehouse, script: Sequence[Fault]
) -> None:
    """As on one server."""
    log = await filled()
    warehouse.faults.script = [Fault(**vars(one)) for one in script]
    async with loading(warehouse.engine(), log, **warehouse.config(merges=False, views=False)):
        await loaded(log)
    assert warehouse.faults.script == []
    assert base_rows(warehouse.direct) == IDS


async def test_a_repair_waits_until_a_replica_of_every_shard_has_caught_up(warehouse: Warehouse) -> None:
    """While replicas still fetch parts, a row that is not seen is not missing."""
    log = await filled()
    warehouse.direct.command("INSERT INTO stand_in.lag VALUES (1)")
    warehouse.faults.plan(INSERT, code=1000, when="after")
    question = "SELECT countIf.*system.replicas"
    async with loading(warehouse.engine(), log, **warehouse.config(merges=False, views=False)):
        await until(lambda: len(warehouse.faults.statements(question)) > 3)
        assert warehouse.faults.statements("SELECT log_offset") == []
        warehouse.direct.command("TRUNCATE TABLE stand_in.lag")
        await loaded(log)
    assert len(warehouse.faults.statements(INSERT)) == 1
    assert "clusterAllReplicas" in warehouse.faults.statements("SELECT log_offset")[0].statement
    assert base_rows(warehouse.direct) == IDS


async def test_a_cluster_that_is_not_there_is_named(warehouse: Warehouse) -> None:
    """With those that are."""
    config = warehouse.config(cluster="mian")
    async with loading(warehouse.engine(cluster="mian"), await filled(), **config) as loader:
        await until(lambda: loader.status()["state"] == "paused")
        assert (
            "cluster 'mian' is not in the server's remote_servers, which has main"
            in loader.status()["reason"]
        )


async def test_a_cluster_that_would_double_every_row_is_refused(bare: Warehouse) -> None:
    """internal_replication off means that Distributed writes to every replica, and each replicates."""
    bare.faults.swap("uniqExactIf(shard_num, internal_replication = 0 AND replica_num > 1)", "1")
    async with loading(bare.engine(), await filled(), **bare.config()) as loader:
        await until(lambda: loader.status()["state"] == "paused")
        assert "internal_replication is off for 1 of 1 shards" in loader.status()["reason"]
    assert bare.direct.query("SELECT 1 FROM system.databases WHERE name = 'headwater'") == []
