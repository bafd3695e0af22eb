"""From an HTTP status to an outcome: the one table. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Literal

from headwater.plugin import Delivered, Misconfigured, Outcome, Reject, Response, Retry

Class = Literal["delivered", "retry", "reject", "misconfigured"]

RETRY = frozenset((408, 423, 425, 429))
NEVER = frozenset((501, 505))  # the other side will not learn the method or the protocol by waiting
PAUSE = frozenset((401, 403, 426))  # credentials or a retired API version: a person must act, events wait
BISECT = frozenset((400, 413, 422))  # about the content: one bad event may have cost a whole batch
EXCERPT = 300


def class_of(status: int) -> Class:
    """What a status means for the events it answers."""
    if 200 <= status < 300:
        return "delivered"
    if status in RETRY or (500 <= status < 600 and status not in NEVER):
        return "retry"
    return "misconfigured" if status in PAUSE else "reject"


def classify(response: Response, now_ms: int = 0) -> Outcome:
    """The default reading of an answer; redirects are never followed and are refused here."""
    kind = class_of(response.status)
    if kind == "delivered":
        return Delivered()
    if kind == "retry":
        return Retry(f"HTTP {response.status}", retry_after(response.headers.get("retry-after"), now_ms))
    if kind == "misconfigured":
        return Misconfigured("credentials", f"HTTP {response.status}: {excerpt(response.body)}".strip())
    if 300 <= response.status < 400:
        return Reject(f"HTTP_{response.status}", "redirects are not followed; configure the final address")
    return Reject(f"HTTP_{response.status}", excerpt(response.body))


def retry_after(value: str | None, now_ms: int) -> float | None:
    """Seconds asked for by a Retry-After header (a number or an HTTP date), or None where it says nothing usable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text), 86_400.0)  # a day: beyond that it is a mistake, not a wish
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return min(max(moment.timestamp() - now_ms / 1000, 0.0), 86_400.0)


def excerpt(body: bytes, size: int = EXCERPT) -> str:
    """The beginning of a body as one line of text."""
    return " ".join(body[: size * 4].decode("utf-8", "replace").split())[:size]
