"""clickhouse-go over HTTP, unmodified, as Grafana's ClickHouse plugin uses it, on the read-only interface of Headwater."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import Running, environment

FOLDER = Path(__file__).parent / "go"
VALUES = {
    "'é'": "é",
    "CAST(NULL AS Nullable(String))": "<nil>",
    "toLowCardinality('lc')": "lc",
    "CAST(NULL AS LowCardinality(Nullable(String)))": "<nil>",
    "toDateTime64('2026-01-02 03:04:05.678', 3, 'UTC')": "2026-01-02 03:04:05.678 +0000 UTC",
    "[1, 2]": "[1 2]",
    "map('k', 1)": "map[k:1]",
    "toUInt64('18446744073709551615')": "18446744073709551615",
    "true": "true",
    "toDecimal64('12.345', 3)": "12.345",
    "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')": "61f0c404-5cb3-11e7-907b-a6006ad3dba0",
    "CAST('x' AS Enum8('x' = 1))": "x",
}
CODES = {"broken": 395, "wrong": 47, "insert": 164, "outward": 164, "slow": 159}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled client; Go empties its cache of what was not used for some days by itself."""
    beside = str(Path(sys.executable).parent)  # where PyPI's Go is
    go = shutil.which("go", path=os.pathsep.join((beside, os.environ.get("PATH", os.defpath))))
    assert go is not None, "no go beside this Python and none in PATH; make .venv/.dev installs one"
    made = tmp_path_factory.mktemp("go") / "check"
    done = subprocess.run(
        [go, "build", "-trimpath", "-o", str(made), "."],
        cwd=FOLDER, capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.mark.slow
@pytest.mark.go
@pytest.mark.timeout(300)
def test_clickhouse_go_works_as_grafana_uses_it(headwater: Running, program: Path) -> None:
    """Ping, catalogue, time filters, every type, parameters, streams, limits; errors and refusals have their codes."""
    event = {"writeKey": "wk_api", "userId": "go-user", "event": "Go", "messageId": "go-1"}
    headwater.post("/v1/track", {**event, "properties": {"deep": {"x": 1.5}}, "context": {"ip": "1.2.3.4"}})
    headwater.wait_for("message_id = 'go-1'", 1)
    done = subprocess.run(
        [str(program), f"127.0.0.1:{headwater.sql_port}", f"SELECT {', '.join(VALUES)}"],
        capture_output=True, text=True, timeout=80, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads(done.stdout)
    assert set(answers) == {"none", "lz4", "gzip"}
    for told in answers.values():
        check(told)


def check(told: dict[str, Any]) -> None:
    """The answers over one kind of compression."""
    assert told["ping"] == "<nil>"
    assert told["version"][0].isdigit()
    assert {"headwater", "api", "system"} <= set(told["databases"])
    assert {"events", "tracks", "users"} <= set(told["tables"])
    assert {"message_id", "properties", "loaded_at"} <= set(told["columns"])
    assert told["values"].split("|") == list(VALUES.values())
    assert told["event"].endswith("|1.2.3.4|[]")
    assert "1.5" in told["event"]
    assert told["whole"] is True
    assert (told["series"], told["named"], told["positional"]) == ("1", "1", "1")
    assert (told["large"], told["limit"]) == ("1000000", "2000000")
    for step, code in CODES.items():
        assert told[step].startswith(f"!{code} "), told[step]
    assert "deadline exceeded" in told["deadline"]
    assert told["after"] == "1"
