"""Records of `events.accepted` as the collector writes them for a batch."""

from __future__ import annotations

from collections.abc import Sequence

from collector.accept import Call, accept, decode
from headwater.log.protocol import Record
from headwater.timestamps import iso

SENT_BEFORE_MS = 100  # how long before it is received a request is sent; its events are older


def collected(bodies: Sequence[bytes], received_ms: int) -> Record:
    """The record that a request with these bodies becomes; sent `SENT_BEFORE_MS` before it is received."""
    sent = iso(received_ms - SENT_BEFORE_MS).encode()
    envelope = decode(b'{"batch":[%b],"sentAt":"%b"}' % (b",".join(bodies), sent), batch=True)
    assert not isinstance(envelope, str), envelope
    outcome = accept(
        envelope, Call("web", "browser", None, received_ms, True, "198.51.100.7", "bench/1"), lambda _: "new"
    )
    assert not outcome.rejected, outcome.rejected[:3]
    return Record(outcome.record(), timestamp=received_ms, events=len(outcome.keys))
