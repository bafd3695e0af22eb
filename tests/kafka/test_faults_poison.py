"""Records that nobody should have written: they are kept as drops with a reason, counted, and stop nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.log.topics import ACCEPTED, DROPPED, PROCESSED
from tests.support import processing

pytestmark = pytest.mark.kafka

GARBAGE = (
    b"\xff\xfe\x00 not even text",
    b'{"half": ',
    b'{"version":9,"events":[{"type":"track"}]}',  # a format of another version
    b'{"shared":{"sourceId":"web"},"bodies":2}',  # a heading that lacks what it must hold
    b"[]",
    b"7",
)
EMPTY = (None, b"")  # no value and no line: no event


async def test_records_of_a_foreign_producer_are_dropped_with_a_reason_and_cost_no_neighbour(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Bytes, half JSON, another format and empty records between events: the events are processed, the rest is kept."""
    wanted = processing.settings(kafka, topic_prefix)
    async with processing.kafka_log(wanted) as log:
        await processing.accept(log, "before")
        await processing.produce(wanted, ACCEPTED, *GARBAGE, *EMPTY)
        await processing.accept(log, "after")
        async with processing.processing(log, tmp_path):
            found = await processing.balanced(log, 2 + len(GARBAGE))
        assert await processing.processed_ids(log) == ["before", "after"]
        dropped = await processing.lines_of(log, DROPPED)
    assert found.dropped == {"undecodable": len(GARBAGE)}
    assert [one["reason"] for one in dropped] == ["undecodable"] * len(GARBAGE)
    assert dropped[1]["event"] == {"raw": '{"half": '}, "the text itself is kept"


async def test_unknown_and_wrong_record_headers_are_ignored(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A newer writer may add headers; one that lies about the number of events costs only the estimate of the lag."""
    wanted = processing.settings(kafka, topic_prefix)
    odd = [("events", b"many"), ("traceparent", b"00-1"), ("format", b"\xff")]
    async with processing.kafka_log(wanted) as log:
        await processing.produce(wanted, ACCEPTED, processing.line("m1"), headers=odd)
        await processing.produce(
            wanted, ACCEPTED, processing.line("m2"), headers=[("events", b"999")], key=b"k"
        )
        async with processing.processing(log, tmp_path):
            await processing.balanced(log, 2)
        assert await processing.processed_ids(log) == ["m1", "m2"]


async def test_garbage_in_the_outputs_does_not_keep_a_processor_from_rebuilding(
    kafka: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A new host reads the outputs to know what was seen: what is no event there is told and passed, duplicates are found."""
    wanted = processing.settings(kafka, topic_prefix)
    async with processing.kafka_log(wanted) as log:
        await processing.accept(log, "m1")
        async with processing.processing(log, tmp_path / "one"):
            await processing.balanced(log, 1)
        await processing.produce(wanted, PROCESSED, *GARBAGE, None)
        await processing.produce(wanted, DROPPED, *GARBAGE, None)
        await processing.accept(log, "m1", "m2")
        async with processing.processing(log, tmp_path / "two"):
            found = await processing.balanced(log, 3)
    assert found.dropped == {"duplicate": 1}
    assert "holds lines that are no events" in caplog.text
