"""Stock Python SDKs, unmodified, into a running Headwater and out of ClickHouse."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from decimal import Decimal

from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client

from tests.support.faults import FaultyProxy
from tests.support.running import Running, eventually


def test_every_call_of_segments_python_sdk_arrives_once(headwater: Running, tag: str) -> None:
    """identify, track, page, screen, group and alias: one row each, ids and names intact."""
    client = Client("wk_api", host=headwater.url, upload_size=3, gzip=False)
    user = f"user-{tag}"
    client.identify(user, {"email": "ada@example.com", "plan": "team"})
    client.track(
        user, tag, {"total": 12.5, "when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "price": Decimal("1.5")}
    )
    client.page(user, "Docs", tag)
    client.screen(user, "Main", tag)
    client.group(user, f"acc-{tag}", {"name": "Acme"})
    client.alias(f"old-{tag}", user)
    client.shutdown()
    headwater.wait_for(f"user_id = '{user}'", 6)
    rows = headwater.sql(
        f"SELECT event_text AS event, toFloat64(properties.total) AS total FROM headwater.events WHERE event_text = '{tag}'"
    )
    assert [(row["event"], row["total"]) for row in rows] == [(tag, 12.5)]


def test_gzip_of_segments_python_sdk(headwater: Running, tag: str) -> None:
    """300 events in compressed batches arrive exactly once."""
    client = Client("wk_api", host=headwater.url, gzip=True)
    for number in range(300):
        client.track(f"u{number}", tag, {"n": number})
    client.shutdown()
    headwater.wait_for(f"event_text = '{tag}'", 300)


def test_segments_python_sdk_retries_through_503_and_resets(headwater: Running, tag: str) -> None:
    """A server that is away for a moment costs nothing and doubles nothing."""
    with FaultyProxy(headwater.port, ["503", "reset", "503"]) as proxy:
        client = Client("wk_api", host=f"http://127.0.0.1:{proxy.port}", upload_size=50, max_retries=8)
        for number in range(120):
            client.track(f"u{number}", tag, {"n": number})
        client.shutdown()
        assert proxy.met[:3] == ["503", "reset", "503"]
    headwater.wait_for(f"event_text = '{tag}'", 120)


def test_a_restart_of_the_collector_loses_nothing_of_segments_python_sdk(
    headwater: Running, tag: str
) -> None:
    """SIGKILL of the collector while the SDK sends: it retries, every event arrives exactly once."""
    client = Client("wk_api", host=headwater.url, upload_size=20, max_retries=10)
    for number in range(400):
        client.track(f"u{number}", tag, {"n": number})
        if number == 150:
            headwater.child("collector").kill()
    client.shutdown()
    headwater.wait_for(f"event_text = '{tag}'", 400, seconds=40)


def test_rudderstacks_python_sdk(headwater: Running, tag: str) -> None:
    """RudderStack's fork of the SDK, which sends originalTimestamp, works unmodified."""
    client = RudderClient("wk_api", host=headwater.url, gzip=False)
    for number in range(30):
        client.track(f"u{number}", tag, {"n": number})
    client.shutdown()
    headwater.wait_for(f"event_text = '{tag}'", 30)


def test_the_same_batch_twice_is_one_set_of_rows(headwater: Running, tag: str) -> None:
    """What a retry does after a lost answer: the second copy is dropped and traceable as a duplicate."""
    events = [{"type": "track", "event": tag, "userId": "u", "messageId": f"{tag}-{n}"} for n in range(25)]
    body = gzip.compress(json.dumps({"batch": events, "writeKey": "wk_api"}).encode())
    for _ in range(2):
        assert headwater.post("/v1/batch", body, **{"Content-Encoding": "gzip"}) == (200, {"success": True})
    headwater.wait_for(f"event_text = '{tag}'", 25)
    eventually(
        lambda: (
            headwater.sql(
                f"SELECT count() AS n FROM headwater.dropped WHERE reason = 'duplicate' AND id LIKE '{tag}-%'"
            )[0]["n"]
            in (25, "25")
        ),
        what="25 duplicates in headwater.dropped",
    )
