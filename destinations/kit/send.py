"""One batch through the mapping and over the wire, until every event of it has an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from destinations.kit.batch import Item
from destinations.kit.classify import BISECT, RETRY, classify, retry_after
from destinations.kit.exchange import Exchange, Filtered, Result
from destinations.kit.gate import Gate, Pass
from destinations.kit.http import HttpClient
from destinations.kit.registry import Configured
from destinations.kit.select import NO_MAPPING
from headwater.clock import Clock
from headwater.event import EventDict
from headwater.metrics import DELIVERY_SECONDS
from headwater.plugin import Delivered, Misconfigured, Outcome, Partial, Reject, Request, Retry

logger = logging.getLogger(__name__)


class Sender:
    """Sends batches of one destination."""

    def __init__(
        self, name: str, configured: Configured, client: HttpClient, gate: Gate, clock: Clock
    ) -> None:
        self._name, self._configured, self._client = name, configured, client
        self._gate, self._clock = gate, clock

    async def send(self, items: Sequence[Item]) -> list[Result]:
        """One result for each item, in order.

        What got no answer because the destination was paused or its circuit opened waits here, its position not
        committed, and goes again when the gate opens.
        """
        results: dict[int, Result] = {}
        while waiting := [index for index in range(len(items)) if index not in results]:
            async with self._gate.batch() as granted:
                results |= await self._attempt([(index, items[index].event) for index in waiting], granted)
        return [results[index] for index in range(len(items))]

    async def _attempt(self, events: Sequence[tuple[int, EventDict]], granted: Pass) -> dict[int, Result]:
        """Outcomes by index; an event is missing where one of its requests was not answered."""
        mapped, results = self._map([event for _, event in events])
        carried = {place for request in mapped for place in request.events}
        for place in range(len(events)):
            if place not in carried and place not in results:
                results[place] = Result(Filtered(NO_MAPPING))
        async with asyncio.TaskGroup() as tasks:
            going = [tasks.create_task(self._request(request, events, granted)) for request in mapped]
        unanswered: set[int] = set()
        for request, task in zip(mapped, going, strict=True):
            answered = task.result()
            unanswered.update(place for place in request.events if events[place][0] not in answered)
            for place in request.events:
                found = answered.get(events[place][0])
                if found is not None and (place not in results or found.rank > results[place].rank):
                    results[place] = found
        return {events[place][0]: result for place, result in results.items() if place not in unanswered}

    def _map(self, events: Sequence[EventDict]) -> tuple[list[Request], dict[int, Result]]:
        """The requests of a batch. Where a mapping fails, the events it fails on are told apart one by one."""
        to_requests, config = self._configured.plugin.to_requests, self._configured.config
        try:
            return to_requests(events, config), {}
        except Exception as error:  # noqa: BLE001 - a plug-in's mistake: it must cost its own events only
            if len(events) == 1:
                logger.warning("destination %s: its mapping failed: %s", self._name, type(error).__name__)
                return [], {0: Result(Reject("MAPPING_FAILED", type(error).__name__))}
        requests: list[Request] = []
        failed: dict[int, Result] = {}
        for place, event in enumerate(events):
            own, wrong = self._map([event])
            requests += [_shifted(request, place) for request in own]
            if wrong:
                failed[place] = wrong[0]
        return requests, failed

    async def _request(
        self, request: Request, events: Sequence[tuple[int, EventDict]], granted: Pass
    ) -> dict[int, Result]:
        """Outcomes by index of the events that one request carries; {} where it was not sent or changed nothing."""
        async with self._gate.request(granted) as admitted:
            if not admitted:
                return {}
            with DELIVERY_SECONDS.labels(self._name).time():
                exchange = await self._client.exchange(request, self._clock.now_ms())
            outcome = self._classify(exchange)
            self._gate.heard(outcome, exchange.response.status if exchange.response else 0)
        carried = [events[place] for place in request.events]
        if isinstance(outcome, Misconfigured):
            return {}
        if isinstance(outcome, Reject) and len(carried) > 1 and _about_content(exchange):
            return await self._halves(carried, granted)
        return {index: Result(_of(outcome, place), exchange) for place, (index, _) in enumerate(carried)}

    async def _halves(self, carried: Sequence[tuple[int, EventDict]], granted: Pass) -> dict[int, Result]:
        """A refused batch usually has one bad event: send each half by itself until it stands alone."""
        middle = len(carried) // 2
        first = await self._attempt(carried[:middle], granted)
        return first | await self._attempt(carried[middle:], granted)

    def _classify(self, exchange: Exchange) -> Outcome:
        if exchange.failure is not None or exchange.response is None:
            return exchange.failure or Retry("no answer")
        answer, own, now = exchange.response, self._configured.plugin.classify, self._clock.now_ms()
        outcome = classify(answer, now) if own is None else own(answer)
        if isinstance(outcome, Retry) and outcome.after_s is None and answer.status in RETRY | {503}:
            return Retry(outcome.reason, retry_after(answer.headers.get("retry-after"), now))
        return outcome


def _about_content(exchange: Exchange) -> bool:
    return exchange.response is not None and exchange.response.status in BISECT


def _of(outcome: Outcome, place: int) -> Delivered | Retry | Reject:
    if isinstance(outcome, Partial):
        return outcome.items.get(place, Delivered())
    assert not isinstance(outcome, Misconfigured), "a pause is no outcome of an event"
    return outcome


def _shifted(request: Request, place: int) -> Request:
    """A request of a batch of one event, as a request of the whole batch."""
    return Request(
        request.method,
        request.url,
        request.body,
        request.headers,
        (place,),
        request.allow_private,
        request.sign,
    )
