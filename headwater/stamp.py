"""The four timestamps and clock skew.

`timestamp = receivedAt - (sentAt - originalTimestamp)`: what the client's clock is wrong by cancels out. Everything the
formula leaves open is decided here, and an event is never refused for a bad time: what cannot be read counts as missing
and leaves a flag, the text itself stays in the event's body.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from headwater import timestamps
from headwater.event import Channel

FUTURE_TOLERANCE_MS: Final = 24 * 3600 * 1000

When = object  # a JSON value; texts and numbers can be times, whatever else is none


class Stamps(NamedTuple):
    """Times in milliseconds since 1970 (UTC); `flags` is None where nothing was unusual."""

    timestamp: int
    original: int
    sent: int | None
    flags: list[str] | None


def stamp(
    received: int,
    channel: Channel,
    *,
    timestamp: When = None,
    original: When = None,
    sent: When = None,
    envelope_sent: When = None,
) -> Stamps:
    """Resolve an event's times. An item's `sentAt` wins over the envelope's, `timestamp` over `originalTimestamp`."""
    flags: list[str] = []
    sent_ms = _first(("sent_at_unparsable", sent), ("sent_at_unparsable", envelope_sent), flags)
    original_ms = _first(
        ("timestamp_unparsable", timestamp), ("original_timestamp_unparsable", original), flags
    )
    if original_ms is None:
        original_ms = received if sent_ms is None else sent_ms
    result, flag = resolve(received, channel, original_ms, sent_ms)
    if flag is not None:
        flags.append(flag)
    return Stamps(result, original_ms, sent_ms, flags or None)


def resolve(received: int, channel: Channel, original: int, sent: int | None) -> tuple[int, str | None]:
    """The formula with its clamps, on times that could be read; a flag where the result is unusual."""
    result = original if sent is None else received - (sent - original)
    flag: str | None = None
    if sent is not None and original > sent and channel != "server":
        return received, "clamped_negative_gap"
    if result > received + FUTURE_TOLERANCE_MS:
        if channel != "server":
            return received, "clamped_future"
        flag = "future"
    if not timestamps.MIN_MS <= result <= timestamps.MAX_MS:
        return min(max(result, timestamps.MIN_MS), timestamps.MAX_MS), "clamped_range"
    return result, flag


def _first(first: tuple[str, When], second: tuple[str, When], flags: list[str]) -> int | None:
    """The first of two values that is a time; a value that is none leaves its flag once."""
    for flag, value in (first, second):
        if value is None or value == "":
            continue
        if (ms := timestamps.parse(value)) is not None:
            return ms
        if flag not in flags:
            flags.append(flag)
    return None


class Sent(NamedTuple):
    """A usual `sentAt`: its text, what it moves an event's time by, and until when the result needs no clamp and no flag.

    An event that is not later than its `sentAt` ends up not later than its arrival; one without may lie ahead a little.
    Where an event's time, moved by `skew_ms`, is not later than `latest_ms`, it is what `stamp` finds.
    """

    text: str | None
    skew_ms: int
    latest_ms: int


def sent_of_one(text: str, received: int) -> Sent | None:
    """An item's own; None where it is not written as usual."""
    ms = timestamps.canonical(text)
    return None if ms is None else Sent(text, received - ms, received)


def sent_of_all(value: When, received: int) -> Sent | None:
    """The envelope's, for items that say nothing; None where it cannot be read."""
    if value is None:
        return Sent(None, 0, received + FUTURE_TOLERANCE_MS)
    ms = timestamps.parse(value)
    return None if ms is None else Sent(timestamps.iso(ms), received - ms, received)
