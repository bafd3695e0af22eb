"""What became of events at their destinations, read from the log alone; works whether or not anything is running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec
import orjson

from destinations.kit.batch import Place
from destinations.kit.books import all_totals
from destinations.kit.letters import fates, open_letters
from destinations.kit.records import Delivery, ItemState, decode_delivery
from headwater.event import lines
from headwater.log.protocol import Log, Record, TopicPartition
from headwater.log.topics import DELIVERIES, DESTINATION_GROUP_PREFIX, PROCESSED

__all__ = ["Attempt", "Journey", "Located", "all_totals", "deliveries_of", "locate", "open_letters"]

SENT = frozenset(("delivered", "retrying", "dead"))


@dataclass(frozen=True, slots=True)
class Located:
    """Where an event stands in the processed topic."""

    partition: int
    place: Place


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt for one event."""

    number: int
    at_ms: int
    state: str  # delivered | retrying | dead
    reason: str = ""
    status: int = 0  # HTTP status of the batch's last answer
    response: str = ""
    due_ms: int = 0  # of the next attempt, while retrying


@dataclass(slots=True)
class Journey:
    """What became of one event at one destination."""

    destination: str
    state: str  # waiting | delivered | filtered | retrying | dead | discarded
    reason: str = ""
    attempts: list[Attempt] = field(default_factory=list)


async def locate(log: Log, message_id: str) -> list[Located]:
    """Every place of the processed topic that holds an event with this messageId."""
    needle = orjson.dumps(message_id)
    found: list[Located] = []
    for number in range(log.partitions(PROCESSED)):
        async for record in records(log, TopicPartition(PROCESSED, number)):
            if needle not in (record.value or b""):
                continue
            for line, raw in enumerate(lines(record.value)):
                if needle in raw and orjson.loads(raw).get("messageId") == message_id:
                    found.append(Located(number, Place(record.offset, line)))
    return found


async def records(log: Log, tp: TopicPartition, offset: int = 0) -> AsyncIterator[Record]:
    """The records of a partition from an offset to its present end."""
    begin, end = await log.bounds(tp)
    offset = max(begin, offset)
    while offset < end:
        batch = await log.read(tp, offset)
        for record in batch.records:
            yield record
        if batch.next_offset <= offset:
            return
        offset = batch.next_offset


async def deliveries_of(
    log: Log,
    message_id: str,
    destinations: Sequence[str],
    located: Sequence[Located] | None = None,
) -> list[Journey]:
    """The journey of an event at each of the destinations named; `located` saves the search for it."""
    places = await locate(log, message_id) if located is None else located
    journeys = {name: Journey(name, "waiting") for name in destinations}
    async for record in records(log, TopicPartition(DELIVERIES, 0)):
        try:
            delivery = decode_delivery(record.value or b"")
        except msgspec.DecodeError:
            continue
        if (journey := journeys.get(delivery.destination)) is not None:
            await _fold(log, journey, delivery, message_id, places)
    for journey in journeys.values():
        await _settle(log, journey, message_id, places)
    return list(journeys.values())


async def _fold(
    log: Log, journey: Journey, delivery: Delivery, message_id: str, places: Sequence[Located]
) -> None:
    """Take what one delivery says of the event: by its id where its fate was particular, else by its place."""
    for item in delivery.items:
        if item.message_id == message_id:
            _take(journey, delivery, item)
            return
    if delivery.span.topic != PROCESSED:
        return
    for located in places:
        outcome = await _outcome(log, delivery, located)
        if outcome == "delivered":
            _take(journey, delivery, ItemState(message_id=message_id, state="delivered", attempt=1))
        elif outcome is not None and outcome not in SENT:
            journey.state, journey.reason = "filtered", outcome


def _take(journey: Journey, delivery: Delivery, item: ItemState) -> None:
    journey.state, journey.reason = item.state, item.reason
    if item.state in SENT:
        journey.attempts.append(
            Attempt(
                number=item.attempt,
                at_ms=delivery.at_ms,
                state=item.state,
                reason=item.reason,
                status=delivery.status,
                response=delivery.response,
                due_ms=item.due_ms,
            )
        )


async def _outcome(log: Log, delivery: Delivery, located: Located) -> str | None:
    """The outcome of the line at a place, if the delivery's span covers it."""
    span = delivery.span
    begin, end = Place(span.offset, span.line), Place(span.end_offset, span.end_line)
    if span.partition != located.partition or not begin <= located.place < end:
        return None
    before = 0
    if span.offset < (await log.bounds(TopicPartition(PROCESSED, span.partition))).begin:
        return None  # retention has removed the beginning of the batch: its lines can no longer be counted
    async for record in records(log, TopicPartition(PROCESSED, span.partition), span.offset):
        if record.offset >= located.place.offset:
            break
        before += sum(1 for _ in lines(record.value))
    before += located.place.line - span.line
    for count, outcome in delivery.outcomes:
        before -= count
        if before < 0:
            return outcome
    return None


async def _settle(log: Log, journey: Journey, message_id: str, places: Sequence[Located]) -> None:
    """What no delivery says: a dead letter that is no longer open, and an event that never reached the destinations."""
    if journey.state == "dead":
        states = await fates(
            log, journey.destination, orjson.dumps(message_id), lambda dead: _is(dead.event, message_id)
        )
        decided = {"retried": "retrying", "discarded": "discarded"}
        journey.state = decided.get(states[-1], "dead") if states else "dead"
    elif journey.state == "waiting" and places:
        group = DESTINATION_GROUP_PREFIX + journey.destination
        position = await log.committed(group, TopicPartition(PROCESSED, places[0].partition))
        if position is not None and Place.of(position) > places[0].place:
            journey.reason = "read, but the record of its delivery is older than the log keeps"


def _is(event: bytes | msgspec.Raw, message_id: str) -> bool:
    value = orjson.loads(bytes(event))
    return isinstance(value, dict) and value.get("messageId") == message_id
