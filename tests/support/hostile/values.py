"""JSON texts of every kind, the broken ones too: what a client, or another program, may have put anywhere.

Texts and not values, so that keys may stand twice and numbers may be ones that no decoder takes. Bytes that are no UTF-8 are
surrogates (`surrogateescape`), as the text is only encoded at the end.
"""

from __future__ import annotations

import json
from functools import lru_cache
from random import Random

STRINGS = (
    "", " ", "a", "é", "😀", "x\ny", 'q"\\', "\0", "\x1f", "\x1d", "\u2028", "İ", "null", "0", "12", "true", "{}", "a.b", "%1F",
    "2026-01-02T03:04:05.678Z", "$ref", "A" * 300, "é" * 1_100,
)  # fmt: skip
NUMBERS = (
    "0", "-0", "1", "-1", "7", "1.5", "-0.0", "1e3", "1E+2", "5e-324", "1e-400", "1e308", "1700000000", "1700000000123.5",
    "9007199254740993", "4611686018427387904", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "1" + "0" * 25,
)  # fmt: skip
BEYOND = ("1e309", "1e999", "-1e999", "9" * 301, "9" * 5000)  # valid JSON, and beyond any double
CONSTANTS = ("NaN", "Infinity", "-Infinity")  # no JSON, but what Python and JavaScript write and Python reads
BROKEN = ("", "tru", "undefined", "'a'", "01", "+1", ".5", "{", "[1,]", '{"a"}', '"\n"', "\ufeff1", '"\\x"')
LONE = (
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\udced\udca0\udc80"',
    '"\udcff"',
    '"caf\udce9"',
)  # surrogates, bytes
KEYS = (
    "a",
    "b",
    "ip",
    "name",
    "plan",
    "email",
    "role",
    "x.y",
    "é",
    "userId",
    "groupId",
    "traits",
    "account",
    "flags",
    "extra",
    "",
)
DEEP = (
    31,
    33,
    99,
    398,
    402,
    700,
    20_000,
)  # not near 1,000: where the stack ends depends on who else stands on it


@lru_cache(10_000)
def _written(text: str) -> tuple[str, str]:
    return json.dumps(text), json.dumps(text, ensure_ascii=False)


class Values:
    """Draws JSON texts; equal seeds draw equal texts, whatever the build."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def chance(self, probability: float) -> bool:
        """Whether something happens."""
        return self.random.random() < probability

    def quoted(self, text: str) -> str:
        """A text as JSON, in one of the ways to write it."""
        written = _written(text)[self.random.getrandbits(1)]
        if text[:1].isalpha() and self.chance(0.01):
            return f'"\\u{ord(text[0]):04x}{written[2:]}' if text[0].isascii() else written
        return written

    def string(self) -> str:
        """Any string."""
        return self.quoted(self.random.choice(STRINGS))

    def number(self) -> str:
        """Any number that decoders take."""
        return self.random.choice(NUMBERS)

    def value(self, depth: int = 0) -> str:
        """Anything that may stand where JSON is expected."""
        kind = self.random.randrange(1000)
        if kind < 3 and self.chance(0.5):
            return self.random.choice((*BEYOND, *CONSTANTS, *LONE))
        if kind < 5 and self.chance(0.4):
            return self.random.choice(BROKEN)
        if kind < 6:
            return self.large()
        if kind < 150:
            return self.random.choice(("null", "true", "false", "{}", "[]"))
        if kind < 300:
            return self.number()
        if kind < 650 or depth > 1:
            return self.string()
        if kind < 780:
            return "[" + ",".join(self.value(depth + 1) for _ in range(self.random.randrange(4))) + "]"
        return self.object(depth + 1)

    def object(self, depth: int = 0) -> str:
        """An object of any members."""
        return self.members(
            [(self.random.choice(KEYS), self.value(depth)) for _ in range(self.random.randrange(5))]
        )

    def members(self, fields: list[tuple[str, str]]) -> str:
        """These members as an object, spaced in one of the usual ways; keys may stand twice."""
        comma, colon = self.random.choice(((",", ":"), (",", ":"), (", ", ": "), (" ,\t", " :\r ")))
        return "{" + comma.join(f"{self.quoted(name)}{colon}{text}" for name, text in fields) + "}"

    def large(self) -> str:
        """Something long, wide or deep."""
        kind = self.random.randrange(8)
        if kind == 0:
            return '"' + "x" * self.random.choice((1_023, 1_025, 70_000)) + '"'
        if kind == 1:
            return "[" + ",".join(["0"] * 3_000) + "]"
        if kind == 2:
            return self.wide()
        return self.deep()

    def deep(self) -> str:
        """Something nested; what lies in it may need another parser."""
        levels, within = self.random.choice(DEEP), self.random.choice(("1", "1e999", "NaN", '"\\ud800"'))
        if self.chance(0.5):
            return "[" * levels + within + "]" * levels
        return '{"a":' * levels + within + "}" * levels

    def wide(self) -> str:
        """An object of many members: as many as are kept, or more."""
        return (
            "{"
            + ",".join(f'"k{n}":{n}' for n in range(self.random.choice((999, 1_001, 1_500, 10_001))))
            + "}"
        )
