"""Hostile records of `events.accepted`: as the collector writes them, and as it never would."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.support.hostile.events import LESSONS, Events, Members

CALLS = ("track",) * 8 + ("identify",) * 4 + ("page", "page", "screen", "group", "group", "alias")
SOURCES = ("web", "web", "shop", "api", "app", "quiet", "gone")
NOT_THEIRS = (
    "writeKey",
    "sentAt",
    "receivedAt",
    "channel",
    "version",
    "projectId",
    "sourceId",
    "flags",
    "extra",
    "_metadata",
    "odd",
)
COUNTS = ("0", "1", "-1", "99", "1.0", "1e2", "true", "null", '"2"', "99999999999999999999", "1e999")


class Records(Events):
    """Draws records."""

    def body(self, kind: str, *, bare: bool) -> str:
        """An event as the client sent it; one that stands bare brings its ids and times, and hardly any of a grouping call."""
        fields: Members = [("type", self.odd_or(kind, 0.01)), *self._said(kind), *self._strange()]
        if bare or self.chance(0.7):
            fields += [
                ("messageId", self.odd_or(self.message(), 0.01)),
                ("timestamp", self.odd_or(self.time())),
            ]
            fields += self.chosen(self._ids(), 0.7 if bare else 0.5)
        fields += [("originalTimestamp", self.odd_or(self.time()))] if self.chance(0.05) else []
        if self.chance(0.6):
            self.random.shuffle(fields)
        text = self.odd_object(fields, 0.002)
        if self.chance(0.01):
            text = text[: -self.random.randrange(1, 9)]
        return text + self.random.choice(("", "", "", "", " ", "\t ", "\r", "x" if self.chance(0.05) else ""))

    def _ids(self) -> Members:
        return [
            ("anonymousId", self.odd_or(self.identifier("a", 40), 0.01)),
            ("userId", self.odd_or(self.identifier("u", 90), 0.01)),
        ]

    def _said(self, kind: str) -> Members:
        fields: Members = []
        if kind == "track" or self.chance(0.05):
            name = self.random.choice(
                (
                    *LESSONS,
                    "Signed Up",
                    "Order Completed",
                    "Crash",
                    "Outage" if self.chance(0.05) else "Unwritable",
                )
            )
            fields.append(("event", self.odd_or(name)))
        parts = [
            ("properties", self.properties()),
            ("traits", self.traits()),
            ("context", self.context()),
            ("integrations", self.object()),
        ]
        fields += self.chosen(parts, 0.7)
        if kind in ("page", "screen") or self.chance(0.05):
            fields += self.chosen(
                [("name", self.odd_or("Home", 0.2)), ("category", self.odd_or("Docs", 0.2))], 0.5
            )
        grouping = [
            ("groupId", self.odd_or(self.identifier("g", 9))),
            ("previousId", self.odd_or(self.identifier("a", 40))),
        ]
        return fields + self.chosen(grouping, 0.9 if kind in ("group", "alias") else 0.02)

    def _strange(self) -> Members:
        fields = self.chosen([(name, self.value()) for name in NOT_THEIRS], 0.03)
        fields += [("odd", self.deep())] if self.chance(0.02) else []
        return (
            [*fields, (self.random.choice(("type", "context", "userId", "event", "é")), self.value())]
            if self.chance(0.02)
            else fields
        )

    def header(self) -> str:
        """An event on a line of its own."""
        kind = self.random.choice(CALLS)
        fields: Members = [
            ("sourceId", self.odd_or(self.random.choice(SOURCES), 0.005)),
            ("channel", self.odd_or(self.random.choice(("browser", "server", "mobile")), 0.005)),
            ("type", self.odd_or(kind, 0.005)),
            ("messageId", self.odd_or(self.message(), 0.005)),
            ("receivedAt", self.odd_or(self.arrival(), 0.005)),
            ("timestamp", self.odd_or(self.iso(self.now) if self.chance(0.6) else self.time(), 0.005)),
            *self.chosen(
                [(name, self.odd_or(self.time(), 0.005)) for name in ("originalTimestamp", "sentAt")], 0.5
            ),
            *self.chosen(self._ids(), 0.7),
        ]
        if kind in ("group", "alias") or self.chance(0.02):
            fields += [("groupId", self.odd_or(self.identifier("g", 9), 0.005))]
            previous = self.identifier(self.random.choice("aau"), 40)
            fields += [("previousId", self.odd_or(previous, 0.005))] if kind == "alias" else []
        fields += self._shared() + (
            [("flags", self.random.choice(('["future"]', "[]", "null", "[1]")))] if self.chance(0.1) else []
        )
        fields += [("body", self.body(kind, bare=False))] if self.chance(0.99) else []
        return self.members(fields)

    def _shared(self) -> Members:
        fields = [("ip", self.odd_or("9.9.9.9", 0.005)), ("userAgent", self.odd_or(self.agent(), 0.005))]
        fields = self.chosen(fields, 0.6)
        envelope = [("batchContext", self.context()), ("batchIntegrations", self.object())]
        return fields + self.chosen(envelope, 0.15)

    def group(self) -> list[str]:
        """A line for several events, and their bodies; at times it lies about their number, or is cut off."""
        bodies = [
            self.body(self.random.choice(CALLS), bare=True) for _ in range(self.random.randrange(1, 40))
        ]
        shared: Members = [
            ("sourceId", self.odd_or(self.random.choice(SOURCES), 0.002)),
            ("channel", self.odd_or(self.random.choice(("browser", "server", "mobile")), 0.002)),
            ("receivedAt", self.odd_or(self.arrival(), 0.002)),
            *(
                [("sentAt", self.odd_or(self.iso(self.now) if self.chance(0.8) else self.time(), 0.01))]
                if self.chance(0.7)
                else []
            ),
            *self._shared(),
        ]
        count = (
            str(len(bodies))
            if self.chance(0.97)
            else self.random.choice((*COUNTS, str(len(bodies) + 3), str(len(bodies) // 2)))
        )
        lines = [f'{{"shared":{self.members(shared)},"bodies":{count}}}', *bodies]
        return lines[: self.random.randrange(1, len(lines) + 1)] if self.chance(0.05) else lines

    def record(self) -> bytes | None:
        """A record's value."""
        self.tick()
        if self.chance(0.005):
            return self.random.choice(
                (
                    None,
                    b"",
                    b"\n",
                    b"\n\n{}",
                    b"garbage\n{}\n[]",
                    b'{"shared":',
                    b"\xef\xbb\xbf{}",
                    b"\xff",
                    b"\0",
                )
            )
        lines: list[str] = []
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            lines += (
                self.group()
                if self.chance(0.5)
                else [self.header() for _ in range(self.random.randrange(1, 12))]
            )
        text = "\n".join(line.replace("\n", " ") for line in lines) + ("\n" if self.chance(0.05) else "")
        value = text.encode("utf-8", "surrogateescape")
        return value[: self.random.randrange(len(value))] if self.chance(0.01) else value


def records(seed: int, events: int) -> Iterator[bytes | None]:
    """Values of records with about so many events."""
    draw = Records(Random(seed))
    while events > 0:
        value = draw.record()
        yield value
        events -= 1 + (value or b"").count(b"\n")
