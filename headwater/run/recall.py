"""What ClickHouse remembers of an event that the log no longer holds, asked through the running query interface."""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode

import msgspec

from destinations.kit.inspect import Attempt
from destinations.kit.inspect import Journey as DestinationJourney
from headwater import timestamps
from headwater.errors import HeadwaterError
from headwater.run.journey import Journey, Stop
from headwater.run.settings import LOOPBACK

TIMEOUT_S = 60.0
KEPT_IN = "clickhouse"
_PROCESSED = """
    SELECT received_at AS at, source_id AS source, type, if(type = 'track', event_text, ifNull(name, '')) AS name,
    log_partition AS partition, log_offset AS offset, loaded_at FROM headwater.events
    WHERE message_id = {id:String} ORDER BY loaded_at
"""
_DROPPED = """
    SELECT dropped_at AS at, source_id AS source, type, event_text AS name, processor, reason, detail,
    log_partition AS partition, log_offset AS offset FROM headwater.dropped_events
    WHERE message_id = {id:String} ORDER BY dropped_at
"""


class NotAnswered(HeadwaterError):
    """The query interface does not answer, or not with rows."""


def recall(port: int, message_id: str, warehouses: Sequence[str]) -> Journey:
    """The journey of an event as the tables tell it; no stops where they do not know it. Raises NotAnswered."""
    processed = _rows(port, _PROCESSED, message_id)
    loaded = [_ms(row.pop("loaded_at")) for row in processed]
    stops = [_stop("processed", row) for row in processed]
    stops += [_stop("dropped", row) for row in _rows(port, _DROPPED, message_id)]
    attempts = [Attempt(number, at, "delivered") for number, at in enumerate(loaded, 1)]
    delivered = [DestinationJourney(name, "delivered", "", attempts) for name in warehouses if loaded]
    return Journey(message_id=message_id, stops=stops, destinations=delivered)


def _stop(stage: str, row: dict[str, Any]) -> Stop:
    place = {name: int(row[name]) for name in ("partition", "offset")}
    at = timestamps.iso(_ms(row["at"]))
    return msgspec.convert({**row, **place, "at": at, "stage": stage, "kept_in": KEPT_IN}, Stop)


def _ms(text: str) -> int:
    """Milliseconds of ClickHouse's `2026-01-02 03:04:05.678`, UTC."""
    return timestamps.parse(text.replace(" ", "T") + "Z") or 0


def _rows(port: int, sql: str, message_id: str) -> list[dict[str, Any]]:
    """Rows of a query with the id as its parameter."""
    escaped = message_id.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    options = urlencode({"default_format": "JSONEachRow", "param_id": escaped})
    connection = HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"/?{options}", sql.encode())
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, HTTPException) as error:
        raise NotAnswered(
            f"the log does not hold the event, and ClickHouse on port {port} does not answer: {error}; "
            "see `headwater doctor`"
        ) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise NotAnswered(
            f"the log does not hold the event, and ClickHouse answered {answer.status}: "
            + body[:500].decode("utf-8", "replace").strip()
        )
    return [msgspec.json.decode(line) for line in body.splitlines() if line]
