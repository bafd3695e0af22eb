"""Records as other writers of Kafka may have written them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from headwater.log.kafka.wire import Fetched
from headwater.log.protocol import TopicPartition
from headwater.log.topics import ACCEPTED

CHECKSUM, SUMMED = slice(17, 21), slice(21, None)  # where they stand in a batch


def batch(*headers: tuple[str, Any]) -> bytes:
    """One record."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    builder.append(0, 1, b"k", b"v", list(headers))
    return bytes(builder.build())


def fetched(data: bytes) -> Fetched:
    """As a broker answers it."""
    return Fetched.of(TopicPartition(ACCEPTED, 0), 0, 1, [], data)


@pytest.mark.parametrize(
    ("value", "events"),
    [(b"3", 3), (b"three", 1), (b"", 1), (None, 1), (b"1" * 5_000, 1)],
    ids=["a number", "a word", "empty", "null", "no number of events"],
)
def test_a_header_of_another_writer_is_no_defect(value: bytes | None, events: int) -> None:
    """It counts as one event: whoever may write to the topic could end every reader of it, start after start."""
    (record,) = fetched(batch(("events", value))).take(100)
    assert (record.value, record.events) == (b"v", events)


def test_a_record_that_cannot_be_read_is_a_damaged_one() -> None:
    """The name of a header that is no text, with a checksum that is right: told like any damage, nothing is passed over."""
    data = bytearray(batch(("abc", b"x")).replace(b"abc", b"\xff\xfe\xfd"))
    data[CHECKSUM] = struct.pack(">I", calc_crc32c(bytes(data[SUMMED])))
    answer = fetched(bytes(data))
    with pytest.raises(CorruptRecordException, match="UnicodeDecodeError"):
        answer.take(100)
    assert answer.offset == 0
