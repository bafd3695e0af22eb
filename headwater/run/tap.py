"""The events of a topic as they are written: what `headwater tap` prints."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from headwater import accepted, codec
from headwater import event as events
from headwater.errors import OffsetOutOfRange
from headwater.event import Accepted
from headwater.heading import Unreadable
from headwater.log import topics
from headwater.log.protocol import Log, TopicPartition

SHORT = {
    "accepted": topics.ACCEPTED,
    "processed": topics.PROCESSED,
    "dropped": topics.DROPPED,
    "profiles": topics.PROFILES,
    "deliveries": topics.DELIVERIES,
}
WAIT_S = 5.0
Test = Callable[[Mapping[str, Any]], bool]


async def tap(
    log: Log, topic: str, test: Test, *, from_start: bool, follow: bool = True
) -> AsyncGenerator[dict[str, Any], None]:
    """Each event for which `test` is true, as a JSON object; for ever, or to the end of the topic."""
    places = {}
    for number in range(log.partitions(topic)):
        tp = TopicPartition(topic, number)
        bounds = await log.bounds(tp)
        places[tp] = bounds.begin if from_start else bounds.end
    while True:
        moved = False
        for tp, offset in places.items():
            try:
                batch = await log.read(tp, offset)
            except OffsetOutOfRange as error:
                places[tp], moved = error.begin, True
                continue
            places[tp], moved = batch.next_offset, moved or batch.next_offset > offset
            for record in batch.records:
                for line in objects(topic, record.key, record.value):
                    if test(subject(topic, line)):
                        yield line
        if not moved:
            if not follow:
                return
            await log.wait([topic], WAIT_S)


def objects(topic: str, key: bytes | None, value: bytes | None) -> list[dict[str, Any]]:
    """The JSON objects of one record; a keyed record is one object with its key."""
    if key is not None or value is None:
        content = codec.read(value) if value else None
        return [{"key": (key or b"").decode("utf-8", "replace"), "value": content}]
    if topic == topics.ACCEPTED:
        return [_accepted(one) for one in accepted.read_whole(value)]
    return [codec.read(line) for line in events.lines(value)]


def _accepted(one: Accepted | Unreadable) -> dict[str, Any]:
    """The client's body, with what the server knows above it: the shape that filters are written for."""
    if isinstance(one, Unreadable):
        return {"raw": one.text.decode("utf-8", "replace")}
    header: dict[str, Any] = codec.read(events.encode_accepted(one))
    body = header.pop("body", None)
    return {**(body if isinstance(body, dict) else {}), **header}


def subject(topic: str, line: dict[str, Any]) -> Mapping[str, Any]:
    """What a filter looks at: the event inside a line."""
    inner = line.get("event")
    wrapped = topic == topics.DROPPED or topic.startswith((topics.DEAD_PREFIX, topics.RETRY_PREFIX))
    return inner if wrapped and isinstance(inner, dict) else line
