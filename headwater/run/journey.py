"""One event's journey through the log: accepted, processed or dropped and why, and what each destination made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from destinations.kit.batch import Place
from destinations.kit.inspect import Journey as DestinationJourney
from destinations.kit.inspect import Located, deliveries_of
from headwater import accepted, codec
from headwater import event as events
from headwater.heading import Unreadable
from headwater.log import topics
from headwater.log.protocol import Log, Record, TopicPartition

Progress = Callable[[str, int, int], None]  # what is searched, records done, records in all


class Stop(Struct, kw_only=True, omit_defaults=True):
    """One place the event was found at."""

    stage: str  # accepted | processed | dropped
    at: str = ""
    source: str = ""
    type: str = ""
    name: str = ""
    processor: str = ""
    reason: str = ""
    detail: str = ""
    partition: int
    offset: int
    kept_in: str = ""  # where it was found once the log had let it go: clickhouse


class Journey(Struct, kw_only=True):
    """Everything the log knows of a messageId; `stops` is empty where it knows nothing."""

    message_id: str
    stops: list[Stop]
    destinations: list[DestinationJourney]

    @property
    def unprocessed(self) -> int:
        """How often it was accepted and has not left the processors yet."""
        done = sum(stop.stage != "accepted" for stop in self.stops)
        return max(0, sum(stop.stage == "accepted" for stop in self.stops) - done)


async def journey(log: Log, message_id: str, destinations: Sequence[str], progress: Progress) -> Journey:
    """Search the log for a messageId. What retention has removed is not found."""
    stops: list[Stop] = []
    located: list[Located] = []
    for topic, read in ((topics.ACCEPTED, _accepted), (topics.PROCESSED, _event), (topics.DROPPED, _dropped)):
        async for tp, record in _search(log, topic, message_id, progress):
            for number, stop in enumerate(read(record, tp.partition)):
                if stop is None or stop[0] != message_id:
                    continue
                stops.append(stop[1])
                if topic == topics.PROCESSED:
                    located.append(Located(tp.partition, Place(record.offset, number)))
    found = await deliveries_of(log, message_id, destinations, located) if located else []
    return Journey(message_id=message_id, stops=stops, destinations=found)


async def _search(
    log: Log, topic: str, message_id: str, progress: Progress
) -> AsyncIterator[tuple[TopicPartition, Record]]:
    """Records that may hold the id (a scan for its bytes; decoding everything would take minutes)."""
    needle = msgspec.json.encode(message_id)
    for number in range(log.partitions(topic)):
        tp = TopicPartition(topic, number)
        bounds = await log.bounds(tp)
        offset = bounds.begin
        while offset < bounds.end:
            batch = await log.read(tp, offset)
            for record in batch.records:
                if record.value is not None and needle in record.value:
                    yield tp, record
            if batch.next_offset <= offset:
                break
            offset = batch.next_offset
            progress(topic, offset - bounds.begin, bounds.end - bounds.begin)


Found = tuple[str, Stop] | None


def _accepted(record: Record, partition: int) -> Iterator[Found]:
    for one in accepted.read_whole(record.value):
        yield None if isinstance(one, Unreadable) else _accepted_one(one, partition, record.offset)


def _accepted_one(one: events.Accepted, partition: int, offset: int) -> Found:
    try:
        body = codec.read(one.body)
    except ValueError:
        return None
    name = body.get("event") or body.get("name") or "" if isinstance(body, dict) else ""
    return one.message_id, Stop(
        stage="accepted",
        at=one.received_at,
        source=one.source_id,
        type=one.type,
        name=str(name),
        partition=partition,
        offset=offset,
    )


def _event(record: Record, partition: int) -> Iterator[Found]:
    for line in events.lines(record.value):
        try:
            found = events.decode(line)
        except msgspec.DecodeError:
            yield None
        else:
            yield found.message_id, _stop("processed", found, partition, record.offset)


def _dropped(record: Record, partition: int) -> Iterator[Found]:
    for line in events.lines(record.value):
        yield _dropped_one(line, partition, record.offset)


def _dropped_one(line: bytes, partition: int, offset: int) -> Found:
    try:
        dropped = msgspec.json.decode(line, type=events.DroppedLine)
        inner: dict[str, Any] = codec.read(dropped.event)
        stop = Stop(
            stage="dropped",
            at=dropped.dropped_at,
            source=str(inner.get("sourceId", "")),
            type=str(inner.get("type", "")),
            name=str(inner.get("event") or inner.get("name") or ""),
            processor=dropped.processor,
            reason=dropped.reason,
            detail=dropped.detail,
            partition=partition,
            offset=offset,
        )
    except (ValueError, AttributeError):
        return None
    return str(inner.get("messageId", "")), stop


def _stop(stage: str, found: events.Event, partition: int, offset: int) -> Stop:
    return Stop(
        stage=stage,
        at=found.received_at,
        source=found.source_id,
        type=found.type,
        name=found.event or found.name or "",
        partition=partition,
        offset=offset,
    )
