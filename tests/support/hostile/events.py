"""The members of hostile events: every call, ids, times, contexts, and what the processors look for in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from tests.support.hostile.values import BEYOND, Values

Members = list[tuple[str, str]]

CRAWLERS = Path(__file__).parents[3] / "processors" / "data" / "crawlers.json"
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 13; CUBOT X50) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
)
AGENTS = (
    "", " ", "curl/8.4.0", "python-requests/2.31", "HeadlessChrome/120", "Mozilla/5.0 Chrome/999.0", "' or 1=1", "${jndi:ldap://x}",
    "İbot", "x" * 512, "x" * 513, "Firefox/" + "9" * 5000, "Acme Probe/1", "compatible; y", "\udcf0", "\0", "a@b.c bot",
)  # fmt: skip
ADDRESSES = (
    "1.2.3.4", "81.2.69.1", "10.1.2.3", "66.249.66.1", "52.95.110.1", "203.0.113.9", "::1", "2001:db8::7", "2600:1f00::1",
    "::ffff:66.249.66.1", "fe80::1%eth0", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "-1.2.3.4", "\uff11.2.3.4", "999", "", " 1.2.3.4",
    "1.2.3.4\n", "4294967296", "f" * 70, "0x7f.1", "2001:4860:4801::1", "203.0.113.255", "203.0.114.0", "10.1.255.255", "10.255.255.255", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
)  # fmt: skip
LESSONS = (
    "Account Created", "Account Deleted", "Account Added User", "Account Removed User", "Signed Up", "Trial Started", "Trial Ended",
)  # fmt: skip
SAAS = (
    "account_name", "role", "trial_start_date", "trial_end_date", "trial_plan_name", "email", "first_name", "last_name", "title", "name", "category",
)  # fmt: skip
SIGNALS = {
    "webdriver": "true", "driver": '"cdc_"', "headless": "true", "mismatch": '["brands","platform","brands",1]', "languages": "0", "plugins": "0",
    "outer": "0", "rtt": "0", "permission": "true", "input": '"still"',
}  # fmt: skip
FACTS = ("true", "0", '"untrusted"', "[]", "false", "1", '""', "0.0", "-0", "null")
BEGIN = datetime(2026, 1, 2, tzinfo=UTC)


class Events(Values):
    """Draws the members of events. `now` moves on, mostly, so that windows and confirmations come into play."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.now = BEGIN
        self._serial = 0
        crawlers = json.loads(CRAWLERS.read_text())["crawlers"]
        self._agents = (*(one["example"] for one in crawlers), *BROWSERS * 40, *AGENTS * 4)

    def tick(self) -> None:
        """Move the time of arrival: a little, at times far, at times back."""
        step = self.random.choice((1, 1, 1, 40, 600, 600, 4_000, 90_000, -7_000))
        self.now += timedelta(seconds=step * self.random.random())
        if self.chance(0.01):
            self.now += timedelta(days=self.random.choice((1, 8, 31, 32, 400, -300)))

    def arrival(self) -> str:
        """The time of arrival as the collector writes it, or as nobody does."""
        return self.iso(self.now) if self.chance(0.98) else self.time()

    @staticmethod
    def iso(moment: datetime) -> str:
        """As the collector writes times."""
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"

    def time(self) -> str:
        """An event's time, near or far, in one of many shapes (a text, not yet JSON)."""
        moment = self.now - timedelta(
            seconds=self.random.choice((0, 1, 300, 5_000, 90_000, -5, -90_000)) * self.random.random()
        )
        usual = self.iso(moment)
        if self.chance(0.7):
            return usual
        return self.random.choice(
            (
                usual[:-1], usual[:19] + "Z", usual[:10], usual[:19], usual[:-1] + "+05:30", usual[:-1] + "-23:59", usual.replace("T", " "),
                usual[:-1] + "456789Z", usual[:20] + "5Z", usual[:20] + "1" * 43 + "Z", usual[:20] + "1" * 44 + "Z", usual[:19] + ",25Z", usual.lower(), f" {usual} ", usual + "Z", usual[:11] + "24:00:00Z",
                usual[:17] + "60.000Z", "2026-02-30T00:00:00.000Z", "0001-01-01T00:00:00.000Z", "0000-00-00T00:00:00.000Z",
                "1899-12-31T23:59:59.999Z", "1900-01-01T00:00:00.000Z", "2299-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z",
                "9999-12-31T23:59:59-23:00", "2026-W01-5", "20260102T030405Z", "1767323045", "1767323045678", "-1767323045.5", "1" * 64, "1" * 65,
                "٢٠٢٦-01-02T03:04:05.678Z", "soon", "", " ", "2026-01-02T03:04:05.678Z\n", "2026-01-02T03:04:0\x005.678Z", "x" * 80,
            )
        )  # fmt: skip

    def identifier(self, letter: str, many: int) -> str:
        """An id out of so many, the first ones often, or an odd one (a text)."""
        if self.chance(0.93):
            return f"{letter}{int(many * self.random.random() ** 3)}"
        return self.random.choice(
            ("", " ", "null", "0", "-1", "0-0-0", "[object Object]", "é😀", f"{letter}\x1f1", f"{letter}\x1d1", "%1F%25", letter * 201, letter * 500, letter * 501)
        )  # fmt: skip

    def message(self) -> str:
        """A messageId: a new one mostly, or one that was there before (a text)."""
        self._serial += 1
        back = self.random.randrange(1, 400) if self.chance(0.1) else 0
        return (
            f"m{max(1, self._serial - back)}"
            if self.chance(0.99)
            else self.random.choice(("", "é", "m\0", "x" * 101))
        )

    def odd_or(self, text: str, probability: float = 0.02) -> str:
        """The text as JSON; at times anything."""
        return self.value() if self.chance(probability) else self.quoted(text)

    def odd_object(self, fields: Members, probability: float = 0.05) -> str:
        """The members as an object; at times with others, at times anything."""
        if self.chance(probability):
            return self.value()
        if self.chance(0.3):
            fields = [
                *fields,
                *((self.random.choice("abcdeé"), self.value(1)) for _ in range(self.random.randrange(4))),
            ]
        self.random.shuffle(fields)
        return self.members(fields)

    def chosen(self, fields: Members, probability: float) -> Members:
        """Some of the members."""
        return [field for field in fields if self.chance(probability)]

    def agent(self) -> str:
        """A user agent, whole or damaged (a text)."""
        found: str = self.random.choice(self._agents)
        if found and self.chance(0.1):
            at = self.random.randrange(len(found))
            found = (
                found[:at]
                + self.random.choice(("", "bot", "é", ";", "/", " http://x"))
                + found[at + self.random.randrange(3) :]
            )
        return found

    def context(self) -> str:
        """A context with what processors ask for."""
        device = [("model", self.odd_or("sdk_gphone64", 0.3)), ("name", self.odd_or("Pixel", 0.3))]
        fields = [
            ("ip", self.odd_or(self.random.choice(ADDRESSES), 0.05)),
            ("userAgent", self.odd_or(self.agent(), 0.05)),
            (
                "groupId",
                self.random.choice(("true", "7", "1.0", "1" + "0" * 25))
                if self.chance(0.1)
                else self.odd_or(self.identifier("g", 9)),
            ),
            (
                "library",
                self.odd_object(
                    [("name", self.odd_or(self.random.choice(("analytics.js", "analytics.js", "go")), 0.05))]
                ),
            ),
            ("device", self.odd_object(device)),
            ("signals", self.signals()),
            ("page", self.odd_object([("url", '"https://a.example/b"')])),
        ]
        return self.odd_object(self.chosen(fields, 0.5), 0.04)

    def signals(self) -> str:
        """What the browser SDK saw of its browser."""
        if self.chance(0.4):
            return '{"v":1}'
        facts = [
            (name, usual if self.chance(0.7) else self.random.choice(FACTS))
            for name, usual in SIGNALS.items()
        ]
        facts.append(("mismatch", self.value()))
        return self.odd_object([("v", "1" if self.chance(0.9) else self.value()), *self.chosen(facts, 0.15)])

    def traits(self) -> str:
        """Traits out of a few, so that they contradict each other; rarely many."""
        names = (
            "email",
            "firstName",
            "lastName",
            "name",
            "plan",
            "industry",
            "employees",
            "status",
            "createdAt",
        )
        fields = [(name, self.odd_or(self.random.choice("uvw"), 0.2)) for name in names]
        return self.wide() if self.chance(0.01) else self.odd_object(self.chosen(fields, 0.3))

    def properties(self) -> str:
        """Properties with what lessons are read from; rarely many."""
        fields = [
            (
                name,
                self.odd_or(
                    self.random.choice(("x", "y", "z", "w" * (1_025 if self.chance(0.02) else 1))), 0.2
                ),
            )
            for name in SAAS
        ]
        fields += [("role", self.random.choice(BEYOND))] if self.chance(0.02) else []
        return self.wide() if self.chance(0.005) else self.odd_object(self.chosen(fields, 0.3))
