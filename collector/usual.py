"""An event of a batch as nearly all of them are, judged and written in one piece. Pure.

`take` declines where anything is out of the ordinary, good or bad; `collector.accept` then goes through the rules one by
one. For the events it takes it asks what `items.fault` and `stamp` ask, most of it in the decoder, and writes what
`Template.head` writes (a property test keeps them equal), in half the time: this is where the collector spends most of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from collector.items import Anything
from collector.line import END, Template
from collector.outcome import Outcome
from collector.stamp import Sent
from headwater import limits
from headwater.timestamps import shifted

_Id = Annotated[str, Meta(max_length=limits.ID_CHARS)]
_MessageId = Annotated[str, Meta(min_length=1, max_length=limits.MESSAGE_ID_CHARS)]
_EventName = Annotated[str, Meta(min_length=1, max_length=limits.EVENT_NAME_CHARS)]


class _Context(Struct, gc=False):
    direct: None = None


class _Item(Struct, rename="camel", gc=False):
    """The rules as types; group and alias need ids of their own, and an event's own sentAt is rare in a batch."""

    type: Literal["track", "identify", "page", "screen"]
    message_id: _MessageId
    timestamp: str
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


class Usual:
    """The lines of one request whose template is plain, and none of whose events can be nested too deeply."""

    __slots__ = ("_after_message", "_after_original", "_begin", "_end", "_sent")

    def __init__(self, template: Template, sent: Sent, *, here: bool) -> None:
        """`sent` is the envelope's, `here` tells to say whence."""
        self._begin, self._after_message, self._sent = template.begin, template.received, sent
        self._end = template.whence + template.end if here else template.end
        self._after_original = '"' if sent.text is None else f'","sentAt":"{sent.text}"'

    def take(self, body: Raw, outcome: Outcome) -> bool:
        """Write the event into the outcome; False, and nothing written, where it is not usual."""
        if len(body) > limits.EVENT_BYTES:
            return False
        try:
            item = _decode(body)
        except msgspec.ValidationError:
            return False
        kind, anonymous, user, text = item.type, item.anonymous_id, item.user_id, item.timestamp
        time = shifted(text, self._sent.skew_ms, self._sent.latest_ms)
        key = anonymous or user
        if time is None or not key or (item.event is None and kind == "track"):
            return False
        head = (
            f'{self._begin}{kind}","messageId":"{item.message_id}{self._after_message}{time}'
            f'","originalTimestamp":"{text}{self._after_original}'
        )
        if anonymous:
            head += f',"anonymousId":"{anonymous}"'
        if user:
            head += f',"userId":"{user}"'
        outcome.pieces += ((head + self._end).encode(), body, END)
        outcome.types.append(kind)
        outcome.keys.append(key)
        return True
