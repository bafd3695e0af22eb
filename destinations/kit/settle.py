"""From the outcomes of a batch to what is written: retries, dead letters, counts, the delivery's record. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import orjson
from msgspec import Raw

from destinations.kit import backoff
from destinations.kit.batch import Broken, Hop, Item, Skip, Unit
from destinations.kit.classify import excerpt
from destinations.kit.exchange import Exchange, Filtered, Result, shown_request, shown_response
from destinations.kit.records import Dead, Delivery, ItemState, Retrying, Span, Totals, encode
from destinations.kit.redact import Redactor
from destinations.kit.settings import RetrySettings
from headwater.log.protocol import Entry, Record, TopicPartition
from headwater.log.topics import DEAD_PREFIX, DELIVERIES, RETRY_PREFIX
from headwater.plugin import Delivered, Reject, Retry


@dataclass(frozen=True, slots=True)
class Terms:
    """What settling needs to know of the destination and the moment."""

    name: str
    tp: TopicPartition  # where the batch came from
    retry: RetrySettings
    redactor: Redactor
    now_ms: int
    draw: Callable[[], float]  # uniform in [0, 1)


@dataclass(slots=True)
class Settled:
    """What one batch adds to the transaction that moves the position past it."""

    change: Totals
    entries: list[Entry] = field(default_factory=list)
    dead: dict[str, int] = field(default_factory=dict)  # by code, for the metrics
    retried: int = 0  # scheduled for a later attempt, for the metrics


def settle(unit: Unit, results: Sequence[Result], terms: Terms) -> Settled:
    """Everything a finished batch leaves behind; `results` belong to `unit.items`, in order."""
    settled = Settled(Totals(destination=terms.name))
    states: list[str] = []
    items: list[ItemState] = []
    answers = iter(results)
    again = terms.tp.topic.startswith(RETRY_PREFIX)
    for step in unit.steps:
        if isinstance(step, Hop):
            settled.entries.append(_retry(terms, step.value, step.due_ms))
            continue
        settled.change.read += 0 if again else 1
        settled.change.retrying -= 1 if again else 0
        state = _step(step, answers, terms, settled)
        states.append(state.reason if state.state == "filtered" else state.state)
        if again or state.state not in ("delivered", "filtered"):
            items.append(state)
    if states:
        settled.entries.append(_delivery(unit, states, items, results, terms))
    return settled


def _step(step: Item | Skip | Broken, answers: Iterator[Result], terms: Terms, settled: Settled) -> ItemState:
    if isinstance(step, Skip):
        return _filtered("", step.reason, settled)
    if isinstance(step, Broken):
        return _dead(
            None, step.raw, Reject("UNREADABLE_EVENT", "the line is no JSON object"), None, terms, settled
        )
    result = next(answers)
    message_id = str(step.event.get("messageId", ""))
    outcome = result.outcome
    if isinstance(outcome, Filtered):
        return _filtered(message_id, outcome.reason, settled)
    if isinstance(outcome, Delivered):
        settled.change.delivered += 1
        return ItemState(message_id=message_id, state="delivered", attempt=step.attempts + 1)
    if isinstance(outcome, Retry):
        return _again(step, outcome, result.exchange, terms, settled)
    return _dead(step, step.raw, outcome, result.exchange, terms, settled)


def _filtered(message_id: str, reason: str, settled: Settled) -> ItemState:
    counts = settled.change.filtered
    counts[reason] = counts.get(reason, 0) + 1
    return ItemState(message_id=message_id, state="filtered", reason=reason)


def _again(
    item: Item, outcome: Retry, exchange: Exchange | None, terms: Terms, settled: Settled
) -> ItemState:
    attempts, first_ms = item.attempts + 1, item.first_ms or terms.now_ms
    reason = terms.redactor.text(outcome.reason)
    rules = terms.retry
    delay = backoff.delay_s(attempts, rules.base_s, rules.cap_s, terms.draw(), outcome.after_s)
    due_ms = terms.now_ms + int(delay * 1000)
    if attempts >= rules.max_attempts or due_ms - first_ms > rules.max_age_s * 1000:
        tried = f"gave up after {attempts} attempts in {(terms.now_ms - first_ms) // 1000} s: {reason}"
        return _dead(item, item.raw, Reject("RETRIES_EXHAUSTED", tried), exchange, terms, settled)
    waiting = Retrying(
        due_ms=due_ms, attempts=attempts, first_ms=first_ms, reason=reason, event=Raw(item.raw)
    )
    settled.entries.append(_retry(terms, encode(waiting), due_ms))
    settled.change.retrying += 1
    settled.retried += 1
    message_id = str(item.event.get("messageId", ""))
    return ItemState(message_id=message_id, state="retrying", attempt=attempts, reason=reason, due_ms=due_ms)


def _retry(terms: Terms, value: bytes, due_ms: int) -> Entry:
    tier = backoff.tier_of((due_ms - terms.now_ms) / 1000)
    return Entry(RETRY_PREFIX + terms.name, tier, Record(value, timestamp=terms.now_ms))


def _dead(
    item: Item | None,
    raw: bytes,
    outcome: Reject,
    exchange: Exchange | None,
    terms: Terms,
    settled: Settled,
) -> ItemState:
    redactor, attempts = terms.redactor, item.attempts + 1 if item else 0
    answer = exchange.response if exchange else None
    letter = Dead(
        at_ms=terms.now_ms,
        code=outcome.code,
        detail=redactor.text(outcome.detail),
        attempts=attempts,
        first_ms=(item.first_ms if item else 0) or terms.now_ms,
        request=shown_request(exchange.request, redactor) if exchange else None,
        response=shown_response(answer, redactor) if answer else None,
        event=Raw(raw if item else orjson.dumps(raw.decode("utf-8", "replace"))),
    )
    settled.entries.append(Entry(DEAD_PREFIX + terms.name, 0, Record(encode(letter), timestamp=terms.now_ms)))
    settled.change.dead += 1
    settled.dead[outcome.code] = settled.dead.get(outcome.code, 0) + 1
    message_id = str(item.event.get("messageId", "")) if item else ""
    return ItemState(message_id=message_id, state="dead", attempt=attempts, reason=outcome.code)


def _delivery(
    unit: Unit, states: Sequence[str], items: list[ItemState], results: Sequence[Result], terms: Terms
) -> Entry:
    runs = [(len(list(run)), state) for state, run in groupby(states)]
    exchanges = {id(r.exchange): r.exchange for r in results if r.exchange}
    answers = [exchange.response for exchange in exchanges.values() if exchange.response]
    last = answers[-1] if answers else None
    record = Delivery(
        destination=terms.name,
        at_ms=terms.now_ms,
        state=_overall(states),
        events=len(results),
        span=Span(*terms.tp, *unit.begin, *unit.end),
        outcomes=runs,
        items=items,
        status=last.status if last else 0,
        response=terms.redactor.text(excerpt(last.body)) if last else "",
        requests=len(exchanges),
    )
    value = Record(encode(record), timestamp=terms.now_ms, events=len(states))
    return Entry(DELIVERIES, 0, value)


def _overall(states: Sequence[str]) -> str:
    """The one state of a batch, `filtered` where nothing was sent, `partial` where the sent ones differ."""
    sent = {state for state in states if state in ("delivered", "retrying", "dead")}
    if not sent:
        return "filtered"
    return sent.pop() if len(sent) == 1 else "partial"
