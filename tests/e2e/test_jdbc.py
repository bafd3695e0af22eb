"""The stock JDBC driver, unmodified and with its default settings, on the read-only interface of a running Headwater."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import java
from tests.support.running import Running

FOLDER = Path(__file__).parent / "jdbc"
VALUES = {
    "'é'": "String:é",
    "CAST(NULL AS Nullable(String))": "null:null",
    "toLowCardinality('lc')": "String:lc",
    "CAST(NULL AS LowCardinality(Nullable(String)))": "null:null",
    "toDateTime64('2026-01-02 03:04:05.678', 3, 'UTC')": "Timestamp:2026-01-02 03:04:05.678",
    "[1, 2]": "Array:[1, 2]",
    "['x', 'y']": "Array:['x', 'y']",
    "map('k', 1)": "LinkedHashMap:{k=1}",
    """CAST('{"a": {"b": 1}}' AS JSON)""": "{a.b=1}",
    "toUInt64('18446744073709551615')": "BigInteger:18446744073709551615",
    "true": "Boolean:true",
    "toDecimal64('12.345', 3)": "BigDecimal:12.345",
    "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')": "UUID:61f0c404-5cb3-11e7-907b-a6006ad3dba0",
    "CAST('x' AS Enum8('x' = 1))": "String:x",
}
CODES = {"broken": 395, "wrong": 47, "insert": 164, "drop": 164, "outward": 164, "cancelled": 394}


@pytest.mark.slow
@pytest.mark.java
@pytest.mark.parametrize(("pom", "version"), [("pom.xml", "0.10.0"), ("pom-all.xml", "0.9.9")])
def test_the_stock_jdbc_driver_works(headwater: Running, tmp_path: Path, pom: str, version: str) -> None:
    """It connects, reads the catalogue, binds, reads every type, streams, cancels; errors and refusals have their codes."""
    event = {"writeKey": "wk_api", "userId": "jdbc-user", "event": "Jdbc", "messageId": "jdbc-1"}
    headwater.post("/v1/track", {**event, "properties": {"deep": {"x": 1.5}}, "context": {"ip": "1.2.3.4"}})
    headwater.wait_for("message_id = 'jdbc-1'", 1)
    url = f"jdbc:clickhouse://127.0.0.1:{headwater.sql_port}/headwater"
    said = java.run(FOLDER / pom, FOLDER / "Check.java", tmp_path, url, f"SELECT {', '.join(VALUES)}")
    told = dict(line.split("\t", 1) for line in said.splitlines())
    assert told["product"] == f"ClickHouse {version}"
    assert {"headwater", "api", "system"} <= names(told["schemas"])
    assert {"events", "tracks", "users"} <= names(told["tables"])
    assert {"message_id", "properties", "loaded_at"} <= names(told["columns"])
    assert {"String", "JSON", "DateTime64"} <= names(told["types"])
    assert "message_id" in names(told["keys"])
    for value, expected in zip(told["values"].split("|"), VALUES.values(), strict=True):
        assert value.endswith(expected)
    assert told["event"].endswith("{deep.x=1.5}|String:1.2.3.4|Array:[]")
    assert told["prepared"] == (
        'it\'s \\\\ "q" ? ü|-5|1099511627776|1.25|1|12.34|2026-01-02|2026-01-02 03:04:05.678|null|'
        "18446744073709551615|61f0c404-5cb3-11e7-907b-a6006ad3dba0"
    )
    assert told["filtered"] == "BigInteger:1"
    assert told["large"] == "1000000 499999500000"
    for step, code in CODES.items():
        assert told[step].startswith(f"!{code} Code: {code}. DB::Exception: "), told[step]
    assert told["cancel"] == "sent"
    assert told["after"] == "Short:1"
    assert told["limited"].startswith("!")
    assert "159" in told["limited"] or "time exceeded limit" in told["limited"]


def names(listed: str) -> set[str]:
    """The elements of a list as Java prints it."""
    return set(listed.strip("[]").split(", "))
