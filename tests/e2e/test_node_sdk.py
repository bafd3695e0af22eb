"""Stock @segment/analytics-node, unmodified, into a running Headwater and out of ClickHouse."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.faults import FaultyProxy
from tests.support.running import Running, environment

NODE = Path(__file__).parent / "node"
pytestmark = pytest.mark.node


def send(host: str, event: str, count: int) -> None:
    """Run the sender to its end; it exits 1 where the SDK gave an event up."""
    done = subprocess.run(
        ["node", "send.mjs", host, "wk_api", event, str(count)],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"failed": []}


def test_every_call_of_segments_node_sdk_arrives_once(headwater: Running, tag: str) -> None:
    """100 tracks and one of each other call; nested properties stay readable."""
    send(headwater.url, tag, 100)
    headwater.wait_for(f"event_text = '{tag}'", 100)
    headwater.wait_for(f"user_id = 'user-{tag}'", 5)
    row = headwater.sql(
        f"SELECT toString(properties.nested.deep) AS deep FROM headwater.events WHERE event_text = '{tag}' LIMIT 1"
    )
    assert "drei" in row[0]["deep"]


def test_segments_node_sdk_retries_through_503(headwater: Running, tag: str) -> None:
    """503 with Retry-After and a reset connection: every event arrives exactly once."""
    with FaultyProxy(headwater.port, ["503", "reset", "503"]) as proxy:
        send(f"http://127.0.0.1:{proxy.port}", tag, 60)
        assert proxy.met[:3] == ["503", "reset", "503"]
    headwater.wait_for(f"event_text = '{tag}'", 60)
