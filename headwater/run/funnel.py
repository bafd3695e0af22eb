"""The funnel of a pipeline, exact after any crash: the totals that each stage writes in the transaction that they count.

accepted = processed + dropped (by reason) + in flight
read     = delivered + filtered (by reason) + retrying + dead + discarded      for each destination
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from headwater.log import topics
from headwater.log.protocol import Lag, Log, TopicPartition


class SourceFlow(Struct, kw_only=True):
    """What became of one source's events so far."""

    processed: dict[str, int] = {}
    dropped: dict[str, int] = {}


class DestinationFlow(Struct, kw_only=True):
    """What became of the processed events at one destination."""

    read: int = 0
    delivered: int = 0
    filtered: dict[str, int] = {}
    retrying: int = 0
    dead: int = 0
    discarded: int = 0
    lag: int = 0  # processed events it has not read yet
    lag_seconds: float = 0.0
    adds_up: bool = True


class Funnel(Struct, kw_only=True):
    """Counts of events since the beginning of the log."""

    accepted: int
    in_flight: int
    lag_seconds: float
    processed: int
    dropped: dict[str, int]
    bots: dict[str, int]
    sources: dict[str, SourceFlow]
    destinations: dict[str, DestinationFlow]
    adds_up: bool


class _Totals(Struct):
    """What is read of a partition's totals (written by processors.totals)."""

    accepted: int = 0
    processed: dict[str, dict[str, int]] = {}
    dropped: dict[str, dict[str, int]] = {}
    bots: dict[str, dict[str, dict[str, int]]] = {}


class _Row(Struct):
    """What is read of a destination's row (written by destinations.kit.books), one for each input partition."""

    destination: str
    read: int = 0
    delivered: int = 0
    filtered: dict[str, int] = {}
    retrying: int = 0
    dead: int = 0
    discarded: int = 0


async def latest(log: Log, topic: str) -> dict[bytes, bytes]:
    """The newest value of each key of a compacted topic."""
    values: dict[bytes, bytes] = {}
    for number in range(log.partitions(topic)):
        tp = TopicPartition(topic, number)
        bounds = await log.bounds(tp)
        offset = bounds.begin
        while offset < bounds.end:
            batch = await log.read(tp, offset)
            if batch.next_offset <= offset:
                break
            offset = batch.next_offset
            for record in batch.records:
                if record.value is None:
                    values.pop(record.key or b"", None)
                else:
                    values[record.key or b""] = record.value
    return values


async def funnel(log: Log, destinations: Iterable[str], now_ms: int) -> Funnel:
    """Add up what the stages wrote; `destinations` are those of the workspace (others appear where they have counted)."""
    totals = [msgspec.json.decode(v, type=_Totals) for v in (await latest(log, topics.TOTALS)).values()]
    lag = await log.lag(topics.PROCESSOR_GROUP, [topics.ACCEPTED])
    sources: dict[str, SourceFlow] = {}
    bots: dict[str, int] = {}
    for total in totals:
        _add(total, sources, bots)
    processed = sum(n for flow in sources.values() for n in flow.processed.values())
    dropped: dict[str, int] = {}
    for flow in sources.values():
        _merge(dropped, flow.dropped)
    counted, waiting = sum(total.accepted for total in totals), sum(found.events for found in lag)
    flows = await _destinations(log, destinations, now_ms)
    return Funnel(
        accepted=counted + waiting,
        in_flight=waiting,
        lag_seconds=_seconds(lag, now_ms),
        processed=processed,
        dropped=dropped,
        bots=bots,
        sources=sources,
        destinations=flows,
        adds_up=counted == processed + sum(dropped.values()) and all(f.adds_up for f in flows.values()),
    )


def _add(total: _Totals, sources: dict[str, SourceFlow], bots: dict[str, int]) -> None:
    for name, counts in total.processed.items():
        _merge(sources.setdefault(name, SourceFlow()).processed, counts)
    for name, counts in total.dropped.items():
        _merge(sources.setdefault(name, SourceFlow()).dropped, counts)
    for classes in total.bots.values():
        _merge(bots, {name: sum(actions.values()) for name, actions in classes.items()})


def _merge(into: dict[str, int], counts: dict[str, int]) -> None:
    for name, number in counts.items():
        into[name] = into.get(name, 0) + number


async def _destinations(log: Log, names: Iterable[str], now_ms: int) -> dict[str, DestinationFlow]:
    flows = {name: DestinationFlow() for name in names}
    for value in (await latest(log, topics.DESTINATION_TOTALS)).values():
        row = msgspec.json.decode(value, type=_Row)
        _add_row(flows.setdefault(row.destination, DestinationFlow()), row)
    for name, flow in flows.items():
        lag = await log.lag(topics.DESTINATION_GROUP_PREFIX + name, [topics.PROCESSED])
        flow.lag, flow.lag_seconds = sum(found.events for found in lag), _seconds(lag, now_ms)
    return flows


def _add_row(flow: DestinationFlow, row: _Row) -> None:
    """Add the counts of one input partition. Each row adds up by itself, a retry's with a negative number."""
    flow.read += row.read
    flow.delivered += row.delivered
    flow.retrying += row.retrying
    flow.dead += row.dead
    flow.discarded += row.discarded
    flow.filtered = {**flow.filtered}
    _merge(flow.filtered, row.filtered)
    others = row.delivered + row.retrying + row.dead + row.discarded + sum(row.filtered.values())
    flow.adds_up = flow.adds_up and row.read == others


def _seconds(lag: list[Lag], now_ms: int) -> float:
    oldest = [found.oldest_ms for found in lag if found.events and found.oldest_ms]
    return max(0, now_ms - min(oldest)) / 1000 if oldest else 0.0
