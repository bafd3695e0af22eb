"""An event of a batch as nearly all of them are: judged by its types alone, and written as it came. Pure.

`take` declines where anything is out of the ordinary, good or bad; `collector.accept` then goes through the rules one by
one and writes a header of its own. For the events it takes it asks what `items.fault` asks, nearly all of it in the
decoder; what the server knows of them stands once in the record (`headwater.accepted`), and whoever reads them back stamps
their times. A property test keeps both ways equal.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from collector.items import Anything
from collector.outcome import Outcome
from headwater import limits

_Id = Annotated[str, Meta(max_length=limits.ID_CHARS)]
_MessageId = Annotated[str, Meta(min_length=1, max_length=limits.MESSAGE_ID_CHARS)]
_EventName = Annotated[str, Meta(min_length=1, max_length=limits.EVENT_NAME_CHARS)]


class _Context(Struct, gc=False):
    direct: None = None


class _Item(Struct, rename="camel", gc=False):
    """The rules as types; group and alias need ids of their own, and an event's own sentAt is rare in a batch."""

    type: Literal["track", "identify", "page", "screen"]
    message_id: _MessageId
    timestamp: str | None = None
    event: _EventName | None = None
    anonymous_id: _Id | None = None
    user_id: _Id | None = None
    properties: Anything | None = None
    traits: Anything | None = None
    context: _Context | None = None
    integrations: Anything | None = None
    group_id: None = None
    previous_id: None = None
    sent_at: None = None
    original_timestamp: str | None = None
    name: str | None = None
    category: str | None = None


_decode = msgspec.json.Decoder(_Item).decode


def take(body: Raw, outcome: Outcome) -> bool:
    """Write the event into the outcome; False, and nothing written, where it is not usual."""
    if len(body) > limits.EVENT_BYTES:
        return False
    try:
        item = _decode(body)
    except msgspec.DecodeError:
        return False
    key = item.anonymous_id or item.user_id
    if not key or (item.event is None and item.type == "track"):
        return False
    outcome.heads.append(None)
    outcome.bodies.append(body)
    outcome.types.append(item.type)
    outcome.keys.append(key)
    return True
