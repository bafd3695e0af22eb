"""What the kit writes to `retry.*`, `dead.*`, `deliveries` and `totals.destinations`: JSON, one object a record. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from headwater.errors import SchemaMismatch

CAMEL: Any = "camel"
RESOLVED = b'{"kind":"resolved"'  # how the record of a decision begins


class Retrying(Struct, kw_only=True):
    """An event waiting for its next attempt. Times are milliseconds since 1970."""

    due_ms: int
    attempts: int
    first_ms: int
    reason: str
    event: Raw


class Dead(Struct, kw_only=True, omit_defaults=True):
    """An event that was given up, with what was asked and answered; secrets are redacted, bodies cut."""

    at_ms: int
    code: str
    detail: str = ""
    attempts: int = 0
    first_ms: int = 0
    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    event: Raw = Raw(b"null")  # the line as it stood in the log; a JSON string where it was no JSON


class Resolved(Struct, kw_only=True, tag="resolved", tag_field="kind"):
    """What an operator decided about dead letters, by their offsets."""

    at_ms: int
    state: str  # retried | discarded
    offsets: list[int]


class Span(Struct, omit_defaults=True):
    """The lines of a delivery: from (offset, line) up to, not including, (end_offset, end_line)."""

    topic: str
    partition: int
    offset: int
    line: int
    end_offset: int
    end_line: int


class ItemState(Struct, rename=CAMEL, omit_defaults=True, kw_only=True):
    """One event whose fate is written down by its id: everything but a first attempt that was delivered or filtered."""

    message_id: str
    state: str  # delivered | retrying | dead | filtered
    attempt: int = 0
    reason: str = ""
    due_ms: int = 0


class Delivery(Struct, rename=CAMEL, omit_defaults=True, kw_only=True):
    """What became of one batch. `outcomes` are runs over the lines of the span, in order: [count, state or reason]."""

    destination: str
    at_ms: int
    state: str  # delivered | partial | retrying | dead | filtered
    events: int  # sent; filtered ones do not count
    span: Span
    outcomes: list[tuple[int, str]] = field(default_factory=list)
    items: list[ItemState] = field(default_factory=list)
    status: int = 0  # of the last answer; 0 where there was none
    response: str = ""  # its beginning, redacted
    requests: int = 0


class Totals(Struct, kw_only=True, forbid_unknown_fields=True):
    """Exact counts of events since the beginning; `read` is always the sum of all the others."""

    destination: str
    read: int = 0
    delivered: int = 0
    filtered: dict[str, int] = field(default_factory=dict)
    retrying: int = 0
    dead: int = 0
    discarded: int = 0
    logs: dict[str, str] = field(default_factory=dict)  # partition -> id of the log that was read
    before: int = 0  # offsets that logs before this one had: places in tables go on from there

    def balances(self) -> bool:
        """Whether every event read is accounted for."""
        others = self.delivered + self.retrying + self.dead + self.discarded
        return self.read == others + sum(self.filtered.values())

    def plus(self, change: Totals) -> Totals:
        """The counts after a change (whose numbers may be negative)."""
        reasons = {**self.filtered}
        for reason, count in change.filtered.items():
            reasons[reason] = reasons.get(reason, 0) + count
        return Totals(
            destination=self.destination,
            read=self.read + change.read,
            delivered=self.delivered + change.delivered,
            filtered=reasons,
            retrying=self.retrying + change.retrying,
            dead=self.dead + change.dead,
            discarded=self.discarded + change.discarded,
            logs={**self.logs, **change.logs},
            before=max(self.before, change.before),
        )


encode = msgspec.json.Encoder().encode
decode_retrying = msgspec.json.Decoder(Retrying).decode
decode_delivery = msgspec.json.Decoder(Delivery).decode
_totals = msgspec.json.Decoder(Totals)
_dead = msgspec.json.Decoder(Dead)
_resolved = msgspec.json.Decoder(Resolved)


def decode_totals(value: bytes) -> Totals:
    """The counts of a destination. Raises SchemaMismatch for what another version wrote."""
    try:
        return _totals.decode(value)
    except msgspec.DecodeError as error:
        raise SchemaMismatch.of("a row of the topic totals.destinations", error) from error


def decode_dead(value: bytes) -> Dead | Resolved:
    """A record of `dead.*`: a letter, or what was decided about earlier ones."""
    return _resolved.decode(value) if value.startswith(RESOLVED) else _dead.decode(value)
