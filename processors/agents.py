"""What a user agent says about itself: an ordinary browser, a known crawler, or something with the marks of a program.

The grammar of ordinary browsers comes first: one anchored expression for Chromium and WebKit, one for Firefox, each with a
slot for the device model, so that a phone's name (CUBOT) or an Android build number cannot matter. Only what does not fit
pays for the rules: impossible versions, known names as whole words, payloads, and generic signs. Agents are cut to
MAX_CHARS, and every expression is linear, so that no string can cost more than a fraction of a millisecond.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

MAX_CHARS = 512  # the longest agents of real browsers (in-app ones) stay below 450

KNOWN, LIBRARY, GENERIC, MALFORMED, SOFT = 95, 90, 85, 60, 20  # scores; the default threshold is 80


class Crawler(Struct, frozen=True):
    """One entry of crawlers.json."""

    name: str
    kind: str
    operator: str
    url: str
    example: str
    at: str = ""


class CrawlerList(Struct, frozen=True):
    """crawlers.json: dated, with its provenance and licence."""

    version: str
    licence: str
    provenance: str
    crawlers: list[Crawler]


class Verdict(Struct, frozen=True):
    """What the rules found; `kind` is "" for an ordinary browser, reasons are stable codes."""

    score: int = 0
    kind: str = ""
    name: str = ""
    operator: str = ""
    reasons: tuple[str, ...] = ()


HUMAN = Verdict()

_IN_SLOT = r"[^()@<>{}$:]*(?:\([^()@<>{}$:]{0,60}\)[^()@<>{}$:]*)*"
_WINDOWS = (
    r"Windows NT \d+\.\d+(?:; (?:Win64|WOW64|x64|arm64|ARM|Trident/7\.0|Touch|Xbox(?: One| Series X)?))*"
)
_MAC = r"Macintosh; (?:Intel|PPC) Mac OS X [\d_.]+"
_LINUX = r"X11; (?:U; )?(?:Ubuntu; )?(?:Fedora; )?(?:Linux|CrOS|FreeBSD|OpenBSD|NetBSD)(?: [\w.-]+){0,3}"
_ANDROID = r"Linux; (?:U; |arm_64; )?Android [\w.]+" + _IN_SLOT
_APPLE = r"(?:iPhone|iPad|iPod(?: touch)?); (?:U; )?CPU (?:iPhone )?OS [\d_]+ like Mac OS X(?:; [\w-]+)?"
_PRODUCTS = (
    r"Version|Chrome|Mobile|Safari|Edg|EdgA|EdgiOS|Edge|OPR|OPT|OPX|SamsungBrowser|CriOS|FxiOS|YaBrowser|Yowser|YaApp_\w+"
    r"|Vivaldi|DuckDuckGo|Ddg|GSA|UCBrowser|UBrowser|MiuiBrowser|XiaoMi|HuaweiBrowser|HeyTapBrowser|VivoBrowser|Brave|Focus"
    r"|Whale|NAVER|coc_coc_browser|Silk|Quark|MQQBrowser|MicroMessenger|Instabridge|Ecosia|Avast|AVG|Norton|Iron|Klar"
    r"|OculusBrowser|PlayStation|SmartTV|Tizen|webOS|TV|QtWebEngine|EdgW|Puffin|Maxthon|Sleipnir|Falkon|Epiphany"
)
_ORDINARY = (
    re.compile(
        rf"Mozilla/5\.0 \((?:{_WINDOWS}|{_MAC}|{_LINUX}|{_APPLE}|{_ANDROID})\) "
        r"AppleWebKit/[\d.]+ \(KHTML, like Gecko\)"
        rf"(?: (?:{_PRODUCTS})(?:/[\w.+-]*)?)*\Z",
        re.ASCII,
    ),
    re.compile(
        rf"Mozilla/5\.0 \((?:{_WINDOWS}|{_MAC}|{_LINUX}|Android [\d.]+; (?:Mobile|Tablet|TV)(?:; [\w .-]+)?); rv:[\d.]+\) "
        r"Gecko/[\d.]+ Firefox/[\d.]+\Z",
        re.ASCII,
    ),
)
# Two-digit and three-digit majors exist; 300 is more than ten years ahead of today's releases.
_VERSION = re.compile(r"(?:Chrome|Firefox)/(\w+)(?:\.\w+)?", re.ASCII)
_NEWEST_MAJOR = 300
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
_LETTERS = re.compile(r"[a-z][a-z_-]*", re.ASCII)
_PAYLOAD = re.compile(
    r"<script|<\?php|\$\{|\(\) ?\{|\.\./|\{\{|union(?: |\+|/\*\*/)+(?:all )?select|select .{0,40} from |sleep\(\d|"
    r"' ?or ?'|\" ?or ?\"|' ?or 1|/etc/passwd|\\x[0-9a-f]{2}|%00|onerror=|javascript:|;\s?(?:wget|curl) |jndi:|\x00",
    re.ASCII,
)
_CONTACT = re.compile(r"https?:/|www\.|[\w.]@\w|\w \[?at\]? \w+ \[?dot\]? \w", re.ASCII)
_BOT_WORD = re.compile(
    r"(?:bots?|robot|crawler|crawl|spider|scraper|scraping|fetcher|archiver|indexer|validator|linkcheck(?:er)?|scanner"
    r"|monitoring|headless|webdriver|preview)[0-9]*(?![a-z0-9])",
    re.ASCII,
)
_NOT_BOTS = frozenset(("cubot", "abot"))  # makers of phones
_NO_BOT_APP = re.compile(r"(?<![a-z0-9._-])robot\.app(?![._-]*[a-z0-9])", re.ASCII)
_WITHIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_OLD_BROWSERS = re.compile(r"msie |trident/|konqueror|opera|netscape|presto", re.ASCII)
_PRODUCT = re.compile(r"[\w.!-]+/[\w.]", re.ASCII)


@cache
def crawler_list() -> CrawlerList:
    """The bundled list of known crawlers."""
    return msgspec.json.decode(
        files("processors").joinpath("data/crawlers.json").read_bytes(), type=CrawlerList
    )


@cache
def _names() -> tuple[dict[str, Crawler], dict[str, Crawler], frozenset[str]]:
    """Names that count anywhere, names that count as the first word, and the first words of two-word names."""
    anywhere: dict[str, Crawler] = {}
    first: dict[str, Crawler] = {}
    for crawler in crawler_list().crawlers:
        words = " ".join(_words(crawler.name))
        (first if crawler.at == "start" else anywhere)[words] = crawler
    return anywhere, first, frozenset(name.split()[0] for name in anywhere if " " in name)


def _words(text: str) -> list[str]:
    return [word.rstrip("._-") for word in _WORD.findall(text.lower())]


def is_ordinary(agent: str) -> bool:
    """Whether the string is built as today's browsers build theirs."""
    return any(grammar.match(agent) for grammar in _ORDINARY)


def judge(agent: str) -> Verdict:
    """The verdict on a visitor's user agent, `HUMAN` where nothing speaks against it. Never raises."""
    text = agent[:MAX_CHARS].strip()
    if _impossible(text):
        return Verdict(GENERIC, "malformed", reasons=("agent.impossible_version",))
    if is_ordinary(text):
        return HUMAN
    if not text:
        return Verdict(MALFORMED, "malformed", reasons=("agent.blank",))
    lower = text.lower()[:MAX_CHARS]  # a few letters of other scripts become two
    if (crawler := _known(lower)) is not None:
        score = LIBRARY if crawler.kind == "http_library" else KNOWN
        return Verdict(score, crawler.kind, crawler.name, crawler.operator, ("agent.known",))
    if _PAYLOAD.search(lower):
        return Verdict(KNOWN, "security_scan", reasons=("agent.payload",))
    return _signs(lower, too_long=len(agent) > MAX_CHARS)


def _impossible(text: str) -> bool:
    for found in _VERSION.finditer(text):
        major = found[1]
        if not major.isdigit() or not 0 < int(major[:9]) < _NEWEST_MAJOR:
            return True
    return False


def _known(lower: str) -> Crawler | None:
    anywhere, first, leading = _names()
    words = _words(lower)
    for place, word in enumerate(words):
        found = anywhere.get(word)
        if found is None and word in leading:
            found = anywhere.get(" ".join(words[place : place + 2]))
        if found is None and place == 0:
            found = first.get(word)
        if found is None and len(word) >= 6 and (letters := _LETTERS.match(word)) and len(letters[0]) >= 6:
            found = anywhere.get(letters[0].rstrip("_-"))
        if found is not None:
            return found
    return None


def _signs(lower: str, *, too_long: bool) -> Verdict:
    reasons = []
    if any(_is_bot_word(lower, found) for found in _BOT_WORD.finditer(lower)):
        reasons.append("agent.calls_itself_bot")
    if _CONTACT.search(lower):
        reasons.append("agent.contact_inside")
    if "compatible;" in lower and not _OLD_BROWSERS.search(lower):
        reasons.append("agent.compatible_without_browser")
    if reasons:
        return Verdict(min(GENERIC + 5 * (len(reasons) - 1), KNOWN), "crawler", reasons=tuple(reasons))
    if too_long:
        return Verdict(MALFORMED, "malformed", reasons=("agent.too_long",))
    if " " not in lower or not _PRODUCT.search(lower):
        return Verdict(MALFORMED, "malformed", reasons=("agent.no_product",))
    return HUMAN


def _is_bot_word(lower: str, found: re.Match[str]) -> bool:
    """Whether the word that ends here is none of the names that only end as bots' do."""
    begin = found.start()
    while begin and lower[begin - 1] in _WITHIN:
        begin -= 1
    return lower[begin : found.end()] not in _NOT_BOTS and not _NO_BOT_APP.match(lower, begin)
