"""Webhook. Sends events as JSON to an address of yours, in batches or one by one, signed.

The body is the whole message, untouched: an array of messages, or with `batch: false` one message a request. Any 2xx is
success. Where a receiver wants to answer for each event it says so in the body, in the order of the request:
`{"results": [{"status": 200}, {"status": 422, "error": "no such plan"}]}`; events it does not mention were taken.

With a `secret` every request carries `X-Signature`, the lower-case hex HMAC-SHA1 of the body as Segment sends it (of a
batch: of the first event's JSON alone, as Segment does), and the headers of Standard Webhooks: `webhook-id`,
`webhook-timestamp` and `webhook-signature: v1,<base64 HMAC-SHA256 of id.timestamp.body>`. The id is the same for every
attempt of the same events. A secret beginning with `whsec_` is base64 for Standard Webhooks. Compare signatures in
constant time.

Redirects are refused. Private, loopback and link-local addresses are refused unless `allow_private` is true.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import Field, SecretStr, field_validator

from destinations.kit.classify import class_of
from destinations.kit.classify import classify as by_status
from destinations.kit.signing import Signature
from headwater import codec
from headwater.event import EventDict
from headwater.plugin import (
    Batching,
    DestinationConfig,
    DestinationSpec,
    Misconfigured,
    Outcome,
    Partial,
    Reject,
    Request,
    Response,
    Retry,
)

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RESERVED = frozenset(
    (
        *("host", "content-length", "connection", "keep-alive", "proxy-connection", "te", "trailer"),
        *(
            "transfer-encoding",
            "upgrade",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "x-signature",
        ),
    )
)


class Config(DestinationConfig):
    """Where to send, and how."""

    url: str = Field(description="The address, http or https.")
    method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="The HTTP method.")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="More headers; their values are treated as secrets."
    )
    secret: SecretStr | None = Field(default=None, description="Signs every request.")
    batch: bool = Field(default=True, description="An array of events a request; false: one event a request.")
    allow_private: bool = Field(
        default=False, description="Allow private, loopback and link-local addresses."
    )

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
            raise ValueError("expected an address such as https://example.com/in")
        if parts.username or parts.password:
            raise ValueError(
                "no user and password here; set headers: {authorization: ...}, which is kept secret"
            )
        return url

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name) or name.lower() in _RESERVED:
                raise ValueError(
                    f"{name!r} cannot be set; host, lengths, connection and signature headers are ours"
                )
            if not value.get_secret_value().isprintable():
                raise ValueError(f"the value of {name!r} holds a control character")
        return headers


spec = DestinationSpec(
    name="webhook",
    title="Webhooks",
    category="webhook",
    batching=Batching(max_events=100, max_bytes=512 * 1024, max_wait_s=1.0),
    concurrency=4,
    timeout_s=10.0,
)


def to_requests(events: Sequence[EventDict], config: Config) -> list[Request]:
    """One request for all events, or with `batch: false` one for each."""
    texts = [codec.dumps(event) for event in events]
    if not texts:
        return []
    if config.batch:
        ids = "\n".join(_id(event) for event in events)
        batch_id = "batch_" + hashlib.sha256(ids.encode("utf-8", "replace")).hexdigest()[:32]
        return [
            _request(config, batch_id, texts[0], b"[" + b",".join(texts) + b"]", tuple(range(len(texts))))
        ]
    return [
        _request(config, _id(event), text, text, (index,))
        for index, (event, text) in enumerate(zip(events, texts, strict=True))
    ]


def _id(event: EventDict) -> str:
    """A message id as a header can carry it."""
    text = str(event.get("messageId", ""))
    return (
        text
        if text.isascii() and text.isprintable()
        else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    )


def _request(config: Config, id_: str, first: bytes, body: bytes, events: tuple[int, ...]) -> Request:
    given = {name.lower(): value.get_secret_value() for name, value in config.headers.items()}
    sign = Signature(config.secret.get_secret_value(), id_, first, body) if config.secret else None
    headers = {"content-type": "application/json", **given}
    return Request(config.method, config.url, body, headers, events, config.allow_private, sign)


def classify(response: Response) -> Outcome:
    """Any 2xx is success but for the events that `results` names; 410 says that nobody listens any more."""
    if response.status == 410:
        return Misconfigured(
            "url", "HTTP 410: the receiver is gone; change the url or remove the destination"
        )
    outcome = by_status(response)
    if class_of(response.status) != "delivered":
        return outcome
    items = dict(_refused(_results(response.body)))
    return Partial(items) if items else outcome


def _results(body: bytes) -> list[Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    results = answer.get("results") if isinstance(answer, dict) else None
    return results if isinstance(results, list) else []


def _refused(results: list[Any]) -> Sequence[tuple[int, Retry | Reject]]:
    found: list[tuple[int, Retry | Reject]] = []
    for index, result in enumerate(results):
        status = result.get("status") if isinstance(result, dict) else None
        if not isinstance(status, int) or 200 <= status < 300:
            continue
        detail = str(result.get("error", ""))[:300]
        retry = class_of(status) == "retry"
        found.append(
            (index, Retry(f"HTTP {status} {detail}".strip()) if retry else Reject(f"HTTP_{status}", detail))
        )
    return found
