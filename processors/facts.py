"""What an event says of a user or an account, as registers with times; shared by identity and account.

A fact's time is the event's own, but never later than its arrival: a server clock that is a year fast must not own a trait
for a year. A value that is already known is confirmed at most once an hour, so that clients which repeat themselves on
every page cost no writes; conflicting facts that arrive late by less than that may therefore win.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Raw

from headwater import codec, limits
from headwater.event import Event
from headwater.profile import Cause, Identity, Sent, Traits
from processors.profiles import Profiles
from processors.shapes import FromLibrary

CONFIRM_MS: Final = 3_600_000  # how much newer a repeated fact must be to be written again
MAX_TRAITS: Final = 1_000  # of one user or account; each change publishes the whole row
BLOCKED_IDS: Final = frozenset(
    ("-1", "null", "nil", "none", "undefined", "anonymous", "unknown", "nan", "[object object]", "guest")
)
_AJS: Final = "analytics.js"

_dict_decoder: Final = msgspec.json.Decoder(dict[str, Raw])


_library_decoder: Final = msgspec.json.Decoder(FromLibrary)


def fact_time(event: Event) -> int:
    """When the event happened, in ms since 1970, and no later than when it arrived."""
    if (
        event.received_at and event.received_at < event.timestamp
    ):  # both are written by us, so text order is time order
        return event.received_ms
    return event.time_ms


def cause(event: Event) -> Cause:
    """The event as the reason of a fact."""
    return Cause(event.message_id, event.event or event.type, fact_time(event))


def is_person(identifier: str | None) -> bool:
    """Whether an id can name one person or account: not blank, not over-long, not a placeholder."""
    if identifier is None or not 0 < len(identifier) <= limits.ID_CHARS:
        return False
    said = identifier.strip()
    zeros = said.strip("0-") == ""  # a number or a UUID that was never set
    return not zeros and said.lower() not in BLOCKED_IDS


def flag(event: Event, name: str) -> None:
    """Note something on the event, once."""
    if name not in (event.flags or ()):
        event.flags = [*(event.flags or ()), name]


def fields(raw: Raw | None) -> dict[str, Raw]:
    """The keys of a raw object with their values; no object has none."""
    return {} if raw is None else _dict_decoder.decode(raw)


def own(value: Raw) -> Raw:
    """A compact copy: a slice would keep the whole record it was read from in memory."""
    raw = codec.joined((value,))
    return Raw(msgspec.json.format(raw, indent=-1) if raw[:1] in b"{[" else raw)


def fresh(known: Traits, event: Event, incoming: Mapping[str, Raw], times: Mapping[str, int]) -> Traits:
    """The registers of `incoming` that say something new; names beyond MAX_TRAITS are left out and flagged."""
    at = fact_time(event)
    news: Traits = {}
    room = MAX_TRAITS - len(known)
    for name, value in incoming.items():
        time, before = times.get(name, at), known.get(name)
        copy = own(value)
        if before is None:
            if room <= 0:
                flag(event, "traits_over_limit")
                continue
            room -= 1
        elif before[1] > time or (before[0] == copy and time - before[1] < CONFIRM_MS):
            continue
        news[name] = (copy, time)
    return news


def cached_times(
    profiles: Profiles, event: Event, scope: str, owner: str, incoming: Mapping[str, Raw]
) -> dict[str, int]:
    """When the browser first sent each value, for analytics.js: it repeats its whole cached set with every call.

    A value it has sent before is no newer for being repeated; without this a stale browser would undo what others
    have learned since. Other libraries send only what was passed: no entry, the event's time counts.
    """
    if event.anonymous_id is None or not incoming or not _is_ajs(event):
        return {}
    row = profiles.identity(event.anonymous_id)
    known = row.sent if row else {}
    at, times, news = fact_time(event), {}, {}
    for name, value in incoming.items():
        slot = f"{scope}.{name}"
        mark = crc32(value, crc32(owner.encode("utf-8", "surrogatepass")))
        before = known.get(slot)
        if before is not None and before.fingerprint == mark:
            times[name] = min(before.since, at)
        if before is None or (before.fingerprint != mark and before.since < at):
            news[slot] = Sent(at, mark)
    if news and len(known) + len(news) <= 2 * MAX_TRAITS:
        profiles.learn(Identity(anonymous_id=event.anonymous_id, sent=news))
    return times


def _is_ajs(event: Event) -> bool:
    try:
        return bool(_library_decoder.decode(event.context).library.name == _AJS)
    except codec.REFUSED:
        return False
