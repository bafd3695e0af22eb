"""What a destination is made of; third parties import this and nothing else.

A destination module has a `Config`, a `spec` and a pure mapping. Two shapes:

* HTTP: `to_requests(events, config) -> list[Request]`, optionally `classify(response) -> Outcome`;
* table: a loader with its own cursor (ClickHouse); see `destinations.clickhouse`.

The delivery kit does the rest: batching, concurrency, rate limit, timeouts, retries, circuit breaker, dead letters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from headwater import codec
from headwater.event import EVENT_TYPES, EventDict


class DestinationConfig(BaseModel):
    """Base of a destination's own settings: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Batching:
    """How events are gathered before mapping."""

    max_events: int = 100
    max_bytes: int = 512 * 1024
    max_wait_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in each `per_s` seconds."""

    requests: int
    per_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `events` are the indexes (into the mapped batch) that it carries."""

    method: str
    url: str
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold credentials
    events: tuple[int, ...] = ()
    allow_private: bool = False  # may the address be private, loopback or link-local
    sign: Callable[[int], Mapping[str, str]] | None = (
        None  # headers that depend on the Unix second of sending
    )

    @classmethod
    def post_json(cls, url: str, value: Any, **rest: Any) -> Request:
        """A POST of a JSON value."""
        headers = {"content-type": "application/json", **rest.pop("headers", {})}
        return cls("POST", url, codec.dumps(value), headers, **rest)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; `body` is cut to 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """The other side has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """May succeed later; `after_s` is the other side's wish (Retry-After)."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """Can never succeed: to the dead letters, with request and response."""

    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Nothing can succeed until a person changes the settings: the destination pauses, events wait."""

    field: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Partial:
    """Different outcomes inside one request, by index into its `events`; indexes not named were delivered."""

    items: Mapping[int, Retry | Reject]


Outcome = Delivered | Retry | Reject | Misconfigured | Partial


@dataclass(frozen=True, slots=True)
class DestinationSpec:
    """What a destination is, for the kit, the docs and the command line."""

    name: str
    title: str
    category: str
    accepts: frozenset[str] = EVENT_TYPES
    batching: Batching = Batching()
    rate: Rate | None = None
    concurrency: int = 4
    timeout_s: float = 15.0
    integration: str = ""  # the name that `integrations` objects use; default: the title

    @property
    def integration_name(self) -> str:
        """The key under `integrations` that switches this destination."""
        return self.integration or self.title


ToRequests = Callable[[Sequence[EventDict], Any], list[Request]]
Classify = Callable[[Response], Outcome]


class HttpDestination(Protocol):
    """The shape of an HTTP destination module."""

    Config: type[DestinationConfig]
    spec: DestinationSpec

    @staticmethod
    def to_requests(events: Sequence[EventDict], config: Any) -> list[Request]:
        """Map events to requests: pure, never changes its input."""
        ...
