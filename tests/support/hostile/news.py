"""Hostile records of the topic `profiles`: another processor's news of somebody, deletions, and what no processor writes."""

from __future__ import annotations

from tests.support.hostile.values import Values

KINDS = ("user", "account", "membership", "identity")


class News(Values):
    """Draws keys and values of records."""

    def record(self) -> tuple[bytes, bytes | None]:
        """One of them."""
        kind, name, other = self.random.choice(KINDS), self._id(), self._id()
        key = f"{kind}:{name}" + (f"\x1f{other}" if kind == "membership" else "")
        if self.chance(0.02):
            key = self.random.choice(("", "x", "user", ":a", "other:a", "membership:g1"))
        row = {
            "user": lambda: [
                ("id", f'"{name}"'),
                ("traits", self._traits()),
                ("aliases", f'{{"u1":{self._cause()}}}'),
            ],
            "account": lambda: [("id", f'"{name}"'), ("traits", self._traits()), ("facts", self._facts())],
            "membership": lambda: [
                ("groupId", f'"{name}"'),
                ("userId", f'"{other}"'),
                *self._times("joinedAt", "confirmedAt", "removedAt"),
            ],
            "identity": lambda: [
                ("anonymousId", f'"{name}"'),
                ("links", f'{{"{other}":{self._link(other)}}}'),
            ],
        }[kind]()
        seen = self._times("firstSeen", "lastSeen") if kind in ("user", "account") else []
        odd = (
            [(self.random.choice(("id", "traits", "links", "new")), self.value())]
            if self.chance(0.03)
            else []
        )
        value = self.members([("kind", f'"{kind}"'), *row, *seen, *odd])
        return key.encode(), None if self.chance(0.2) else value.encode("utf-8", "surrogateescape")

    def _id(self) -> str:
        return f"{self.random.choice('aug')}{self.random.randrange(9)}"

    def _time(self) -> str:
        usual = str(1_767_312_000_000 + self.random.randrange(900_000_000))
        return (
            usual
            if self.chance(0.95)
            else self.random.choice(("-1", "0", "9223372036854775807", "1" + "0" * 25))
        )

    def _times(self, *names: str) -> list[tuple[str, str]]:
        return [(name, self._time()) for name in names if self.chance(0.7)]

    def _traits(self) -> str:
        names = [name for name in ("email", "firstName", "name", "plan", "status") if self.chance(0.4)]
        return self.members([(name, f"[{self.value(1)},{self._time()}]") for name in names])

    def _facts(self) -> str:
        trial = '{"state":"started","plan":"p"}' if self.chance(0.9) else self.value()
        facts = [
            ("trial", trial),
            ("created", '"2026-01-02"'),
            ("deleted", self.random.choice(('"2026-01-03"', "null"))),
        ]
        return self.members(
            [(name, f"[{value},{self._time()}]") for name, value in facts if self.chance(0.4)]
        )

    def _cause(self) -> str:
        return f'{{"messageId":{self.string()},"type":"identify","time":{self._time()}}}'

    def _link(self, user: str) -> str:
        said = f'"explicit":{self.random.choice(("true", "false"))},"revokedAt":{self._time()}'
        return f'{{"userId":"{user}","first":{self._cause()},"last":{self._time()},{said}}}'
