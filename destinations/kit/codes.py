"""Every code of a dead letter, in one list; docs/operator/errors.md documents them (a test compares).

`NNN` stands for a number, `TOPIC` for a topic's name in capitals.
"""

from __future__ import annotations

DEAD_LETTERS: dict[str, str] = {
    "HTTP_NNN": "The receiver refused the event with this status, by itself or in its answer for each event.",
    "RETRIES_EXHAUSTED": "The receiver failed for longer, or more often, than the destination retries.",
    "MAPPING_FAILED": "The destination's mapping raised an exception on the event: a defect of the destination.",
    "INVALID_REQUEST": "The mapping made a request that cannot be sent, such as one with a line break in a header.",
    "UNREADABLE_EVENT": "A line of the processed log is no JSON object, or is nested more than 128 levels deep.",
    "UNREADABLE_TOPIC": "A record of profiles, dropped or deliveries is none; no event is lost by it.",
    "CLICKHOUSE_NNN": "ClickHouse refuses this row alone, with its error number.",
}
