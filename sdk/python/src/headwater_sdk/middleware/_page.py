"""What a request says about its visitor and page. Pure; headers are input from strangers, so nothing here trusts them."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Mapping, NamedTuple, Optional
from urllib.parse import parse_qsl, unquote

CLICK_IDS = frozenset(
    "gclid gbraid wbraid dclid fbclid msclkid ttclid twclid li_fat_id epik sccid rdt_cid".split()  # noqa: SIM905
)
LONGEST_ID = 500  # the collector's limit
_HTML = re.compile(r"(text/html|application/xhtml\+xml)\b", re.IGNORECASE)
_AHEAD = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)
_LOCALE = re.compile(r"\s*([a-zA-Z]{2,3}(?:-[a-zA-Z0-9]{2,8})*)(?=[,;\s]|$)")
_TITLE = re.compile(rb"<title[^>]*>([^<]*)</title", re.IGNORECASE)
_UTM = re.compile(r"utm_(\w+)")
_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]*):\d+")


class Request(NamedTuple):
    """A request of whatever framework. `path` is percent-encoded, `header` takes lower-case names."""

    method: str
    scheme: str
    host: str
    path: str
    query: str
    header: Callable[[str], Optional[str]]
    ip: Optional[str]


class Address(NamedTuple):
    """The page's address as the visitor typed it, before any proxy."""

    url: str
    host: str
    path: str
    search: str
    secure: bool


def is_navigation(request: Request) -> bool:
    """Whether somebody goes to a document, now: not a script's fetch, an asset, or a page loaded in case it is wanted."""
    if request.method != "GET":
        return False
    if any(_AHEAD.search(request.header(name) or "") for name in ("sec-purpose", "purpose", "x-moz")):
        return False
    wanted = request.header("sec-fetch-dest")
    return wanted == "document" if wanted else bool(_HTML.search(request.header("accept") or ""))


def is_page(status: int, content_type: str) -> bool:
    """Whether an answer showed a page; 304 shows the one that the browser has."""
    return status == 304 or (200 <= status < 300 and bool(_HTML.match(content_type)))


def is_shared(cache_control: str) -> bool:
    """Whether caches may give the answer to other visitors, with the cookie of the first."""
    return bool(re.search(r"\bpublic\b|\bs-maxage\b", cache_control, re.IGNORECASE))


def address(request: Request, trust_proxy: int) -> Address:
    """Return where the page is; a trusted proxy says which host and scheme the visitor used."""
    host, scheme = request.host, request.scheme
    if trust_proxy:
        host = _last(request.header("x-forwarded-host")) or host
        forwarded = _last(request.header("x-forwarded-proto")).lower()
        scheme = forwarded if forwarded in ("http", "https") else scheme
    search = f"?{request.query}" if request.query else ""
    return Address(f"{scheme}://{host}{request.path}{search}", host, request.path, search, scheme == "https")


def client_ip(request: Request, trust_proxy: int) -> Optional[str]:
    """Return the visitor's address: each of so many proxies appended the one it saw; what stands before is made up."""
    hops = [hop.strip() for hop in (request.header("x-forwarded-for") or "").split(",") if hop.strip()]
    if not trust_proxy or not hops:
        return request.ip
    hop = hops[max(0, len(hops) - trust_proxy)]
    bare = _PORT.fullmatch(hop)
    return (bare[1] or bare[2]) if bare else hop


def locale(accept_language: Optional[str]) -> Optional[str]:
    """Return the first language that a browser accepts."""
    found = _LOCALE.match(accept_language or "")
    return found[1] if found else None


def campaign(query: str) -> dict[str, dict[str, str]]:
    """Return `campaign` (utm_campaign is `name`, any other utm_x is `x`) and `clickIds`, where the query has them."""
    if "utm_" not in query and "id" not in query and "epik" not in query:
        return {}
    found: dict[str, dict[str, str]] = {}
    for name, value in parse_qsl(query, errors="replace"):
        utm = _UTM.fullmatch(name)
        if utm:
            found.setdefault("campaign", {})["name" if utm[1] == "campaign" else utm[1]] = value
        elif name in CLICK_IDS:
            found.setdefault("clickIds", {})[name] = value
    return found


def cookies(header: Optional[str]) -> dict[str, str]:
    """Split a Cookie header; of two with the same name the first is the nearer one."""
    found: dict[str, str] = {}
    for pair in (header or "").split(";"):
        name, equals, value = pair.strip().partition("=")
        if equals and value:
            found.setdefault(name, unquote(value.strip()))
    return found


def visitor_id(value: Optional[str]) -> Optional[str]:
    """Read an id as analytics.js wrote it: bare, or as JSON text by its older versions. None where it is no usable id."""
    if value is not None and value.startswith('"'):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, str) or value in ("", "null") or len(value) > LONGEST_ID:
        return None
    return value


def preferences(cookie: Optional[str]) -> dict[str, bool]:
    """Read consent from a cookie, a JSON object of category and true or false; nothing is allowed until it is there."""
    try:
        parsed: Any = json.loads(cookie or "{}")
    except ValueError:
        return {}
    pairs: Mapping[Any, Any] = parsed if isinstance(parsed, dict) else {}
    return {name: allowed for name, allowed in pairs.items() if isinstance(allowed, bool)}


def title(body: bytes, content_encoding: str) -> Optional[str]:
    """Find the title in the beginning of a page; None where it is compressed or comes later."""
    if content_encoding not in ("", "identity"):
        return None
    found = _TITLE.search(body, 0, 65_536)
    if not found:
        return None
    from html import unescape

    return " ".join(unescape(found[1].decode(errors="replace")).split()) or None


def _last(header: Optional[str]) -> str:
    return (header or "").rpartition(",")[2].strip()
