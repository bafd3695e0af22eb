"""The shapes of records of `events.accepted`; `headwater.accepted` writes and reads them. Pure.

Apart from the functions, which may be compiled (docs/operator/install.md): a compiled class statement takes no keywords.
"""

from __future__ import annotations

from typing import Annotated, final

from msgspec import Meta, Struct

from headwater.event import Channel, OptionalRaw
from headwater.stamp import Sent


class Shared(Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """What the events of one request have in common; fields as in `Accepted`."""

    source_id: str
    channel: Channel
    received_at: str
    sent_at: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    batch_context: OptionalRaw = None
    batch_integrations: OptionalRaw = None


class Heading(Struct, gc=False):
    """The line before events that share: how many lines of bodies follow."""

    shared: Shared
    bodies: Annotated[int, Meta(ge=0)]


class Bare(Struct, frozen=True, gc=False):
    """An event that brings no header of its own: its body, what it shares, and how its time is moved."""

    shared: Shared
    received_ms: int
    sent: Sent | None
    line: bytes  # the body, perhaps with a line break behind it

    @property
    def body(self) -> bytes:
        """The JSON as the client sent it."""
        return self.line.removesuffix(b"\n")

    @property
    def source_id(self) -> str:
        """As in `Accepted`."""
        return self.shared.source_id


class Ids(Struct, rename="camel", gc=False):
    """The parts of a body that its header would tell."""

    type: str
    message_id: str
    timestamp: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    original_timestamp: str | None = None


@final
class Unreadable(Struct, frozen=True):
    """A text that holds no event, and why; nothing the collector writes comes to this."""

    text: bytes
    detail: str
