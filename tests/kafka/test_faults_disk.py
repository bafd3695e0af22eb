"""The disk under a processor's state is full: nothing is lost or doubled, and work goes on as soon as there is space.

The kernel's own refusal in place of a full disk: no file of this process may grow past a limit. What a write is answered
is EFBIG and not ENOSPC; what is done about it is the same. A full disk under the spool: tests/unit/log/test_spool_store.py.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.log.protocol import Entry, Record
from headwater.log.topics import ACCEPTED
from processors import partition
from tests.support import processing

pytestmark = pytest.mark.kafka

LIMIT = 64 << 10
EVENTS = 20_000  # their keys take 200 KB
A_RECORD = 500


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows past `LIMIT`."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


async def test_a_full_disk_under_the_state_loses_nothing_and_work_goes_on_when_there_is_space(
    kafka: str,
    topic_prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """State that cannot be written is thrown away and folded again from the log; every event is processed once."""
    monkeypatch.setattr(partition, "FLUSH_KEYS", 1_000)
    ids = [f"m{number}" for number in range(EVENTS)]
    async with processing.kafka_log(processing.settings(kafka, topic_prefix)) as log:
        for start in range(0, EVENTS, A_RECORD):
            some = ids[start : start + A_RECORD]
            value = b"\n".join(processing.line(one) for one in some)
            await log.append([Entry(ACCEPTED, 0, Record(value, events=len(some)))])
        await processing.accept(log, ids[0], ids[-1])
        async with processing.processing(log, tmp_path):
            with full_disk():
                async with asyncio.timeout(processing.WAIT_S):
                    while caplog.text.count("starts again from the log") < 3:
                        await asyncio.sleep(0.02)
            found = await processing.balanced(log, EVENTS + 2)
        assert await processing.processed_ids(log) == ids
    assert found.dropped == {"duplicate": 2}
    assert "check free disk space" in caplog.text
