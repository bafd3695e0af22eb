"""A ClickHouse server in a process of its own, one for each module, with a proxy before it that fails as told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from destinations.clickhouse import loader
from destinations.clickhouse.config import Config
from destinations.clickhouse.engine import ClickHouse
from headwater.paths import DataDir
from tests.support.clickhouse_faults import Faults
from tests.support.clickhouse_server import Server
from tests.unit.destinations.clickhouse.conftest import engine

__all__ = ["engine"]
USER = {"username": "loader", "password": "pw"}


@dataclass
class Warehouse:
    """A server, the proxy before it, and a connection beside the proxy for looking."""

    server: Server
    faults: Faults
    direct: ClickHouse
    options: dict[str, Any]

    def config(self, **more: Any) -> dict[str, Any]:
        """Settings of a destination that loads through the proxy."""
        return {"url": f"http://127.0.0.1:{self.faults.port}", **USER, **self.options, **more}

    def engine(self, **more: Any) -> ClickHouse:
        """A connection as the loader makes it, through the proxy."""
        return connection(self.config(**more))


def connection(settings: dict[str, Any]) -> ClickHouse:
    """A connection as the loader makes it."""
    opened = loader.open_engine(Config(**settings), DataDir(Path("unused")))
    assert isinstance(opened, ClickHouse)
    return opened


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    """Options of the server and of the destination; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, server_options: dict[str, Any]) -> Iterator[Server]:
    """The process."""
    users = {"default": "", USER["username"]: USER["password"]}
    with Server(
        tmp_path_factory.mktemp("server"), users=users, **server_options.get("server", {})
    ) as running:
        yield running


@pytest.fixture
def warehouse(server: Server, server_options: dict[str, Any]) -> Iterator[Warehouse]:
    """The server with empty tables, as the test before made them, or with none."""
    direct = connection({"url": f"http://127.0.0.1:{server.port}", **USER})
    for (name,) in direct.query(
        "SELECT name FROM system.tables WHERE database = 'headwater' AND engine LIKE '%MergeTree' AND name != 'schema_migrations'"
    ):
        direct.command(f"TRUNCATE TABLE headwater.{name}")
    with Faults(server.port) as faults:
        yield Warehouse(server, faults, direct, server_options.get("destination", {}))
    direct.close()


@pytest.fixture
def bare(warehouse: Warehouse) -> Warehouse:
    """The server without any table of ours."""
    for name in ("headwater", "web", "api"):
        warehouse.direct.command(f"DROP DATABASE IF EXISTS {name} SYNC")
    return warehouse
