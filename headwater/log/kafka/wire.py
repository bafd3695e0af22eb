"""Records as Kafka messages and back, and the one request that aiokafka lacks. No I/O.

A message is a record: value, key, timestamp. How many events it holds is the header `events`, left out for one, so that
lag is counted without decoding anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.record.memory_records import MemoryRecords

from headwater.log.protocol import Record, TopicPartition

EVENTS_HEADER = "events"
MOST_DIGITS = 9  # nobody puts so many events into one record


def headers(record: Record) -> list[tuple[str, bytes]]:
    """What travels beside key and value."""
    return [] if record.events == 1 else [(EVENTS_HEADER, b"%d" % record.events)]


def record_of(message: Any) -> Record:
    """The record of a fetched message; messages of other writers count as one event."""
    events = 1
    for name, value in message.headers:
        if name == EVENTS_HEADER and value and value.isdigit() and len(value) <= MOST_DIGITS:
            events = int(value)
    return Record(message.value, message.key, message.timestamp, events, message.offset)


@dataclass(slots=True)
class Fetched:
    """What a broker answered for one partition; unpacked as it is taken. `offset` is where taking goes on."""

    offset: int
    stable: int  # end of what is committed, at the time of the answer
    messages: Any = None
    size: int = 0  # bytes of the answer
    _held: Record | None = None

    @classmethod
    def of(cls, tp: TopicPartition, offset: int, stable: int, aborted: Any, data: bytes) -> Fetched:
        """From the parts of the answer."""
        records = MemoryRecords(data)
        if not records.has_next():
            return cls(offset, stable)
        parts = PartitionRecords(tp, records, aborted, offset, None, None, True, READ_COMMITTED)
        return cls(offset, stable, parts, len(data))

    def take(self, max_bytes: int) -> list[Record]:
        """Records of at most that many bytes, yet at least one if there is any; moves `offset` past them and past gaps."""
        taken: list[Record] = []
        while (record := self._next()) is not None:
            max_bytes -= len(record.value or b"")
            if taken and max_bytes < 0:
                self._held, self.offset = record, record.offset
                break
            taken.append(record)
        return taken

    def _next(self) -> Record | None:
        if self._held is not None:
            record, self._held = self._held, None
            self.offset = record.offset + 1
            return record
        if self.messages is None:
            return None
        try:
            message = next(self.messages, None)
        except KafkaError:
            raise
        except Exception as error:  # a codec's own error, or a header's name that is no text
            raise CorruptRecordException(
                f"a record cannot be read: {type(error).__name__}: {error}"
            ) from error
        self.offset = self.messages.next_fetch_offset
        if message is None:
            self.messages = None
            return None
        return record_of(message)

    @property
    def done(self) -> bool:
        """Whether everything was taken."""
        return self.messages is None and self._held is None


_TAGS = ("tags", TaggedFields)


class StableOffsets_v7(Response):  # type: ignore[misc]  # noqa: N801 - named as aiokafka names its own
    """Committed positions of a group, none of them about to be moved by a transaction under way."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        ("error_code", Int16),
        _TAGS,
    )


class StableOffsetsRequest_v7(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """OffsetFetch with `require_stable` (KIP-447); aiokafka stops at version 3, which answers with old positions."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = StableOffsets_v7
    SCHEMA = Schema(
        ("group", CompactString("utf-8")),
        (
            "topics",
            CompactArray(("topic", CompactString("utf-8")), ("partitions", CompactArray(Int32)), _TAGS),
        ),
        ("require_stable", Boolean),
        _TAGS,
    )


class StableOffsetsRequest(Request[StableOffsetsRequest_v7]):  # type: ignore[misc]
    """Ask for some partitions of a group, or for all (None); `stable`: not while a transaction moves them."""

    API_KEY = 9

    def __init__(self, group: str, partitions: list[tuple[str, list[int]]] | None, *, stable: bool) -> None:
        self._group, self._partitions, self._stable = group, partitions, stable

    def build(self, request_struct_class: type[StableOffsetsRequest_v7]) -> StableOffsetsRequest_v7:
        """The request as it goes out."""
        asked = self._partitions
        topics: Any = None if asked is None else [(name, numbers, {}) for name, numbers in asked]
        return request_struct_class(self._group, topics, self._stable, {})
