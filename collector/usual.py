"""An event of a batch as nearly all of them are, judged and written in one piece. Pure.

`take` declines where anything is out of the ordinary, good or bad; `collector.accept` then goes through the rules one by
one. For the events it takes it asks what `items.fault` and `stamp` ask and writes what `Template.head` writes (a property
test keeps them equal) in two thirds of the time: this is where the collector spends most of it.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from collector.items import Item, decode
from collector.line import END, Template
from collector.outcome import Outcome
from collector.stamp import Sent
from headwater import limits
from headwater.timestamps import shifted

_KINDS = frozenset(("track", "identify", "page", "screen"))  # group and alias need ids of their own
_ID, _MESSAGE_ID, _EVENT = limits.ID_CHARS, limits.MESSAGE_ID_CHARS, limits.EVENT_NAME_CHARS


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
        try:
            item = decode(body)
        except msgspec.ValidationError:
            return False
        if len(body) > limits.EVENT_BYTES or (head := self.head(item)) is None:
            return False
        outcome.pieces += (head, body, END)
        outcome.types.append(item.type or "")
        outcome.keys.append(item.anonymous_id or item.user_id or "")
        return True

    def head(self, item: Item) -> bytes | None:
        """The line of an event up to its body; None where it is not usual."""
        kind, anonymous, user, message_id = item.type, item.anonymous_id, item.user_id, item.message_id
        event, text, context = item.event, item.timestamp, item.context
        if (
            kind not in _KINDS
            or not (anonymous or user)
            or not message_id
            or len(message_id) > _MESSAGE_ID
            or (len(event) > _EVENT or not event if event is not None else kind == "track")
            or text is None
            or item.sent_at is not None
            or item.group_id is not None
            or item.previous_id is not None
            or (context is not None and context.direct is not None)
            or (time := shifted(text, self._sent.skew_ms, self._sent.latest_ms)) is None
        ):
            return None
        head = (
            f'{self._begin}{kind}","messageId":"{message_id}{self._after_message}{time}'
            f'","originalTimestamp":"{text}{self._after_original}'
        )
        if anonymous:
            if len(anonymous) > _ID:
                return None
            head += f',"anonymousId":"{anonymous}"'
        if user:
            if len(user) > _ID:
                return None
            head += f',"userId":"{user}"'
        return (head + self._end).encode()
