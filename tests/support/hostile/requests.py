"""Hostile requests, and what the collector's pure part makes of them: an answer, and a record that the processors go on with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random

from collector.accept import Call, Envelope, accept, decode
from headwater.event import Channel
from tests.support.hostile.records import CALLS, Records

CHANNELS: tuple[Channel, ...] = ("browser", "server", "mobile")
BOM = b"\xef\xbb\xbf"


class Requests(Records):
    """Draws requests and sends them in."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._made = count()

    def batch(self) -> str:
        """The body of a batch."""
        events = [
            self.body(self.random.choice(CALLS), bare=self.chance(0.9))
            for _ in range(self.random.randrange(12))
        ]
        fields = [
            ("batch", "[" + ",".join(events) + "]" if self.chance(0.99) else self.value()),
            *self.chosen([("sentAt", self.odd_or(self.time())), ("writeKey", self.odd_or("w"))], 0.8),
            *self.chosen([("context", self.context()), ("integrations", self.object())], 0.2),
        ]
        return self.odd_object(fields, 0.01)

    def call(self, kind: str | None) -> Call:
        """What the server knows of a request."""
        channel: Channel = self.random.choice(CHANNELS)
        address = self.random.choice(("9.9.9.9", "::1", None))
        agent = self.agent().encode("utf-8", "surrogateescape").decode("latin-1")  # as headers are read
        return Call(
            "web",
            channel,
            kind,
            int(self.now.timestamp() * 1000),
            self.chance(0.5),
            address,
            agent if self.chance(0.7) else None,
        )

    def answered(self) -> tuple[str, bytes | None]:
        """A request's answer, and the record that holds its events."""
        self.tick()
        kind = None if self.chance(0.8) else self.random.choice(CALLS)
        text = self.batch() if kind is None else self.body(kind, bare=True)
        body = text.encode("utf-8", "surrogateescape")
        found = decode(BOM + body if self.chance(0.01) else body, batch=kind is None)
        call, headers = self.call(kind), self.chance(0.1)
        if not isinstance(found, Envelope):
            return found, None
        outcome = accept(found, call, lambda now: f"{now}-{next(self._made)}", headers=headers)
        told = f"{outcome.types} {outcome.keys} {outcome.rejected}"
        return told, outcome.record() if outcome.types else None


def answers(seed: int, events: int) -> Iterator[tuple[str, bytes | None]]:
    """Answers and records of requests with about so many events."""
    draw = Requests(Random(seed))
    while events > 0:
        told, value = draw.answered()
        yield told, value
        events -= 1 + (value or b"").count(b"\n")
