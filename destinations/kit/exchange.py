"""One request and what came of it, and how it is written down: redacted and cut. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from destinations.kit.redact import Redactor
from headwater.plugin import Delivered, Misconfigured, Reject, Request, Response, Retry

REQUEST_BYTES = 16 * 1024
ANSWER_BYTES = 4 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request with its answer, or with the reason why there was none."""

    request: Request
    response: Response | None
    failure: Retry | Reject | Misconfigured | None = None


@dataclass(frozen=True, slots=True)
class Filtered:
    """The mapping had no request for the event."""

    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one event, and the exchange that decided it."""

    outcome: Delivered | Retry | Reject | Filtered
    exchange: Exchange | None = None

    @property
    def rank(self) -> int:
        """Where an event went into several requests the worst outcome decides."""
        return {Reject: 3, Retry: 2, Delivered: 1}.get(type(self.outcome), 0)


def shown_request(request: Request, redactor: Redactor) -> dict[str, Any]:
    """A request as operators may see it."""
    return {
        "method": request.method,
        "url": redactor.url(request.url),
        "headers": redactor.headers(request.headers),
        "body": cut(request.body, REQUEST_BYTES, redactor),
        "bytes": len(request.body),
    }


def shown_response(response: Response, redactor: Redactor) -> dict[str, Any]:
    """An answer as operators may see it."""
    return {
        "status": response.status,
        "headers": redactor.headers(response.headers),
        "body": cut(response.body, ANSWER_BYTES, redactor),
    }


def cut(body: bytes, size: int, redactor: Redactor) -> str:
    """The beginning of a body as text; says how much is missing. Redacted before it is cut, so no secret is halved."""
    text = redactor.text(body.decode("utf-8", "replace"))
    return text if len(text) <= size else f"{text[:size]}… ({len(text) - size} more characters)"
