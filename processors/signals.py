"""What the page itself said about who drives it: `context.signals`, which the browser SDK's plug-in of that name sends.

The plug-in states facts, and only unusual ones; what they weigh is decided here, so that rules change without a release of
the SDK. `{"v": 1}` alone means: looked, and saw nothing unusual. An event without the object says nothing at all.

| fact | meaning | weight |
|---|---|---|
| `webdriver: true` | `navigator.webdriver`: the browser says itself that a program drives it | a bot |
| `driver: "..."` | a known tool's property is in the page | a bot |
| `headless: true` | the client hints name a headless browser | a bot |
| `mismatch: [...]` | client hints against the user agent: `brands`, `mobile`, `platform` | weak, each |
| `languages: 0`, `plugins: 0` | no language; no plug-in in a desktop Chromium | weak, each |
| `outer: 0`, `rtt: 0` | a window of no size; a connection of no latency | weak, each |
| `permission: true` | notifications are both denied and still to be asked for | weak |
| `input: "untrusted"`, `"still"` | only scripts clicked; a mouse clicked that never moved | weak |

Privacy browsers, screen readers and test labs show several weak signs, so those never reach the default threshold.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from headwater import codec
from processors.agents import SOFT, Verdict
from processors.shapes import Signals

DRIVEN = 90  # the browser or the tool says so itself
WEAK_MOST = 60  # of all weak signs together: below the default threshold of 80
VERSION = 1


MEANING = {
    "signals.webdriver": "the browser says that a program drives it",
    "signals.driver": "the page holds a property of an automation tool",
    "signals.headless": "the browser's client hints name a headless browser",
    "signals.brands": "client hints and user agent name different browsers (a weak sign)",
    "signals.mobile": "client hints and user agent disagree on whether it is a phone (a weak sign)",
    "signals.platform": "client hints and user agent name different systems (a weak sign)",
    "signals.languages": "the browser has no language (a weak sign)",
    "signals.plugins": "a desktop Chromium without any plug-in (a weak sign)",
    "signals.outer": "the window has no size (a weak sign)",
    "signals.rtt": "the connection has no latency (a weak sign)",
    "signals.permission": "notifications are denied and still to be asked for (a weak sign)",
    "signals.input": "clicks without a person's pointer (a weak sign)",
}
_MISMATCHES = ("brands", "mobile", "platform")
_ORDINARY = b'{"v":1}'  # byte for byte what ordinary browsers send, so that almost no event pays for decoding
_decoder = msgspec.json.Decoder(Signals)


def judge(raw: Raw, verdict: Verdict) -> Verdict:
    """The verdict with what the page's signals add to it; the same object where they add nothing. Never raises."""
    if codec.joined((raw,)) == _ORDINARY:
        return verdict
    try:
        signals = _decoder.decode(raw)
    except codec.REFUSED:
        return verdict
    if signals.v != VERSION:
        return verdict
    if strong := tuple(_strong(signals)):
        return _more(verdict, DRIVEN, strong)
    weak = tuple(_weak(signals))
    return _more(verdict, min(WEAK_MOST, SOFT * len(weak)), weak) if weak else verdict


def _more(verdict: Verdict, score: int, reasons: tuple[str, ...]) -> Verdict:
    """The higher score counts, and whose it is names the class: a driven browser in a data centre is no data centre."""
    reasons = (*verdict.reasons, *reasons)
    if verdict.kind and verdict.score >= score:
        return msgspec.structs.replace(verdict, reasons=reasons)
    return Verdict(score, "automation", reasons=reasons)


def _strong(signals: Signals) -> Iterator[str]:
    if signals.webdriver is True:
        yield "signals.webdriver"
    if type(signals.driver) is str and signals.driver:
        yield "signals.driver"
    if signals.headless is True:
        yield "signals.headless"


def _weak(signals: Signals) -> Iterator[str]:
    if type(signals.mismatch) is list:
        yield from (f"signals.{name}" for name in _MISMATCHES if name in signals.mismatch)
    for name in ("languages", "plugins", "outer", "rtt"):
        value = getattr(signals, name)
        if type(value) is int and value == 0:
            yield f"signals.{name}"
    if signals.permission is True:
        yield "signals.permission"
    if signals.input in ("untrusted", "still"):
        yield "signals.input"
