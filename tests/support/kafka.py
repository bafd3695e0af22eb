"""A real Kafka for tests: one broker for the whole run, shared by all pytest-xdist workers.

A conftest imports the fixtures it wants. Tests that kill brokers make a `Cluster` of their own in `tmp_path`.
"""

from __future__ import annotations

import fcntl
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from headwater.dev.kafka.process import is_alive, spawn
from tests.support.running import eventually

KEEPER = Path(__file__).with_name("keeper.py")
START_S = 110.0


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a running broker; use topic names that begin with `topic_prefix`."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kafka"
    folder.mkdir(exist_ok=True)
    with (folder / "users.lock").open("w") as users:
        with (folder / "start.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            bootstrap = _running(folder)
        yield bootstrap


@pytest.fixture
def topic_prefix() -> str:
    """What no other test puts before its topics, groups and transactional ids."""
    return f"t{uuid.uuid4().hex[:10]}."


async def create_topic(bootstrap: str, name: str, partitions: int = 1, copies: int = 1) -> None:
    """Make a topic and wait until the broker serves it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(name, partitions, copies)])
        assert answer.topic_errors[0][1] == 0, answer
    finally:
        await admin.close()


def _running(folder: Path) -> str:
    """The address of the broker that runs on the folder, started now where none does."""
    told, failed, log = folder / "bootstrap", folder / "failed", folder / "keeper.log"
    if not told.exists():
        failed.unlink(missing_ok=True)
        keeper = spawn([sys.executable, str(KEEPER), str(folder)], log, str(folder))
        eventually(
            lambda: told.exists() or failed.exists() or not is_alive(keeper), seconds=START_S, what="Kafka"
        )
        assert told.exists(), f"Kafka does not start:\n{log.read_text()[-3_000:]}"
    return told.read_text()
