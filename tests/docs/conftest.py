"""A running Headwater with the demo's events in it: what the docs' commands and queries are run against."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest

from headwater.demo.client import send_all
from headwater.demo.stream import batches
from tests.support.running import WORKSPACE, Running, eventually

DEMO_SEED = 7


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server of the docs: keys wk_web and wk_api, the demo stream delivered."""
    running = Running(tmp_path_factory.mktemp("docs"), WORKSPACE)
    try:
        running.start()
        stream = list(batches(DEMO_SEED, time.time_ns() // 1_000_000))
        sent = send_all(running.url, {"web": "wk_web", "api": "wk_api"}, stream)
        unique = len({event["messageId"] for batch in stream for event in batch.events})
        assert sent == sum(len(batch.events) for batch in stream)
        running.wait_for("1", unique, seconds=60)
        members = {event["userId"] for batch in stream for event in batch.events if event["type"] == "group"}
        for where, number in (("headwater.memberships", len(members)), (VIEWS, len(NAMES)), (TRAITS, 1)):
            eventually(partial(_holds, running, where, number), what=f"{number} rows of {where}")
        yield running
    finally:
        if running.process is not None:
            running.stop()


def _holds(running: Running, table: str, number: int) -> bool:
    """Profiles and views come beside the events."""
    return running.count("1", table=table) == number


NAMES = ("trial_started", "subscription_started", "report_viewed", "invite_sent", "signed_up")
VIEWS = f"(SELECT name FROM system.tables WHERE database = 'headwater' AND name IN {NAMES})"
TRAITS = "(SELECT name FROM system.columns WHERE database = 'headwater' AND table = 'accounts' AND name = 'industry')"
