"""Every metric, declared in one list; names are stable and documented in docs/operator/metrics.md (a test compares them).

Under `headwater up` the processes share counters through prometheus_client's multi-process files, so that the
collector's `/metrics` answers for all of them. Labels never carry write keys, ids or event names of customers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric's name (with its unit), kind, labels and meaning."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


DECLARED: list[Declared] = []


def counter(name: str, text: str, *labels: str) -> Counter:
    """Declare a counter; `name` ends in `_total`."""
    DECLARED.append(Declared(name, "counter", text, labels))
    return Counter(name, text, labels)


def gauge(name: str, text: str, *labels: str) -> Gauge:
    """Declare a gauge; of several processes the most recent value counts."""
    DECLARED.append(Declared(name, "gauge", text, labels))
    return Gauge(name, text, labels, multiprocess_mode="mostrecent")


def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    """Declare a histogram with its bucket bounds."""
    DECLARED.append(Declared(name, "histogram", text, labels))
    return Histogram(name, text, labels, buckets=buckets)


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# collector
ACCEPTED_EVENTS = counter(
    "headwater_accepted_events_total", "Events acknowledged, by source and type.", "source", "type"
)
REJECTED_EVENTS = counter(
    "headwater_rejected_events_total", "Events refused, by source and code.", "source", "code"
)
REQUESTS = counter("headwater_requests_total", "Requests answered, by route and status.", "route", "status")
REQUEST_SECONDS = histogram(
    "headwater_request_seconds",
    "Time to answer, by route; one request in eight is timed.",
    "route",
    buckets=SECONDS,
)
INFLIGHT_BYTES = gauge("headwater_inflight_bytes", "Request bytes held by the collector.")
SPOOL_BYTES = gauge("headwater_spool_bytes", "Bytes of acknowledged events that wait on disk for the log.")
SPOOL_OLDEST = gauge("headwater_spool_oldest_seconds", "How long the oldest of them has waited.")
SPOOLED_EVENTS = counter(
    "headwater_spooled_events_total", "Events acknowledged from the disk, as the log did not take them."
)
SPOOL_DRAINED = counter("headwater_spool_drained_events_total", "Events moved from the disk to the log.")
SPOOL_LOST = counter(
    "headwater_spool_lost_batches_total",
    "Acknowledged batches that somebody destroyed on disk; always an incident.",
)

# processors
PROCESSED_EVENTS = counter(
    "headwater_processed_events_total", "Events that left the chain, by source and type.", "source", "type"
)
DROPPED_EVENTS = counter(
    "headwater_dropped_events_total", "Events dropped, by source and reason.", "source", "reason"
)
BOT_EVENTS = counter(
    "headwater_bot_events_total", "Bot verdicts, by source, class and action.", "source", "class", "action"
)
LOST_RECORDS = counter(
    "headwater_lost_records_total",
    "Records removed by retention before they were read; always an incident.",
    "topic",
    "partition",
)
PROCESSOR_LAG = gauge("headwater_processor_lag_events", "Accepted events still to be processed.", "partition")
REBUILD_RATIO = gauge(
    "headwater_processor_rebuild_ratio",
    "How much of a partition's state has been read back from the log; below 1 its events wait.",
    "partition",
)

# the log on Kafka
KAFKA_WAITING = gauge(
    "headwater_kafka_waiting_bytes", "Bytes of records that wait for the brokers, by process.", "process"
)
KAFKA_STUCK = gauge(
    "headwater_kafka_stuck_partitions",
    "Partitions that have taken nothing for five seconds, by process.",
    "process",
)
KAFKA_REBALANCES = counter(
    "headwater_kafka_rebalances_total", "Shares of partitions dealt out to a consumer, by group.", "group"
)
KAFKA_TRANSACTIONS = counter(
    "headwater_kafka_transactions_total",
    "Transactions, by group and outcome: committed, or failed (its events are processed again).",
    "group",
    "outcome",
)
KAFKA_FENCES = counter(
    "headwater_kafka_fences_total",
    "Transactions refused because a newer owner has the partition, by group.",
    "group",
)

# destinations
DELIVERED_EVENTS = counter("headwater_delivered_events_total", "Events delivered.", "destination")
FILTERED_EVENTS = counter(
    "headwater_filtered_events_total",
    "Events not meant for a destination, by reason.",
    "destination",
    "reason",
)
RETRIED_EVENTS = counter(
    "headwater_retried_events_total", "Events scheduled for a later attempt.", "destination"
)
DEAD_EVENTS = counter(
    "headwater_dead_events_total", "Events moved to the dead letters, by code.", "destination", "code"
)
DELIVERY_SECONDS = histogram(
    "headwater_delivery_seconds", "Time of one request or insert.", "destination", buckets=SECONDS
)
DESTINATION_LAG = gauge(
    "headwater_destination_lag_events", "Processed events still to be delivered.", "destination"
)
DESTINATION_PAUSED = gauge(
    "headwater_destination_paused", "1 while a destination is paused or its circuit is open.", "destination"
)
SLOWDOWNS = counter(
    "headwater_destination_slowdowns_total",
    "Inserts that ClickHouse refused because it was busy, by its error number.",
    "destination",
    "code",
)
