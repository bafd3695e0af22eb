"""What became of the events: counts that are exact, details that are bounded, and news for `on_error`."""

from __future__ import annotations

from threading import get_ident

from headwater_sdk._record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Event = Union[bytes, dict[str, Any]]  # as serialised, or as called where it could not be

MOST_DETAILS = 1_000


class Rejected(NamedTuple):
    """An event that the server, or the SDK before it, will not take."""

    message_id: str
    type: str
    code: str
    message: str


class Dropped(NamedTuple):
    """An event that was given up: `queue_full`, `retries_exhausted`, `closed`, `spill_failed`."""

    message_id: str
    type: str
    reason: str


class FlushReport(NamedTuple):
    """What was settled since the report before, and what still waits.

    `rejected` and `dropped` hold at most 1,000 items each; `rejected_count` and `dropped_count` are exact. `warnings`
    names values that were sent as their text because JSON has no form for them.
    """

    delivered: int
    rejected: list[Rejected]
    dropped: list[Dropped]
    queued: int
    rejected_count: int
    dropped_count: int
    warnings: list[str]

    @property
    def ok(self) -> bool:
        """Whether everything that was called is with the server."""
        return not (self.queued or self.rejected_count or self.dropped_count)


def merged(first: FlushReport, second: FlushReport) -> FlushReport:
    """Join two reports that follow each other."""
    return FlushReport(
        first.delivered + second.delivered,
        (first.rejected + second.rejected)[:MOST_DETAILS],
        (first.dropped + second.dropped)[:MOST_DETAILS],
        second.queued,
        first.rejected_count + second.rejected_count,
        first.dropped_count + second.dropped_count,
        first.warnings + second.warnings,
    )


class DeliveryError(Exception):
    """Why events did not arrive; `on_error(error, events)` gets it, it is raised only under `strict`.

    `code` is the server's or the SDK's (`event_too_large`, `queue_full`, ...); `status` the HTTP status, 0 without one.
    """

    def __init__(self, code: str, message: str = "", status: int = 0) -> None:
        super().__init__(code, message, status)
        self.code = code
        self.message = message
        self.status = status

    def __str__(self) -> str:
        said = f"{self.code}: {self.message}" if self.message else self.code
        return f"{said} (HTTP {self.status})" if self.status else said


def identity(event: Event) -> tuple[str, str]:
    """Return messageId and type of an event."""
    decoded = decode(event)
    return str(decoded.get("messageId", "")), str(decoded.get("type", ""))


def decode(event: Event) -> dict[str, Any]:
    """Return the event as the app knows it."""
    if isinstance(event, dict):
        return event
    import json

    decoded: dict[str, Any] = json.loads(event)
    return decoded


class Ledger:
    """Counts what was settled. Not locked: whoever owns it holds the client's lock."""

    def __init__(self) -> None:
        self.news: dict[tuple[str, str, int], list[Event]] = {}
        self.news_lost = 0
        self.telling: set[int] = set()  # threads in which on_error runs
        self.awaited: set[bytes] = set()  # events whose callers want to know whether they were delivered
        self._news_count = 0
        self._clear()

    def _clear(self) -> None:
        self._delivered = self._rejected_count = self._dropped_count = 0
        self._rejected: list[Rejected] = []
        self._dropped: list[Dropped] = []
        self._warnings: dict[str, None] = {}

    def delivered(self, events: list[bytes]) -> None:
        """Count events that the server took."""
        self._delivered += len(events)
        if self.awaited:
            self.awaited.difference_update(events)

    def reject(self, event: Event, code: str, message: str, status: int = 0) -> None:
        """Note an event that will never be taken."""
        self._rejected_count += 1
        if len(self._rejected) < MOST_DETAILS:
            self._rejected.append(Rejected(*identity(event), code, message))
        self._tell(event, code, message, status)

    def drop(self, event: Event, reason: str, message: str = "", status: int = 0) -> None:
        """Note an event that was given up."""
        self._dropped_count += 1
        if len(self._dropped) < MOST_DETAILS:
            self._dropped.append(Dropped(*identity(event), reason))
        self._tell(event, reason, message, status)

    def warn(self, text: str) -> bool:
        """Note something odd about an event that goes all the same; True when it is new since the last report."""
        if text in self._warnings or len(self._warnings) >= MOST_DETAILS:
            return False
        self._warnings[text] = None
        return True

    def report(self, queued: int) -> FlushReport:
        """Return what was noted since the last report, and begin anew."""
        report = FlushReport(
            self._delivered,
            self._rejected,
            self._dropped,
            queued,
            self._rejected_count,
            self._dropped_count,
            list(self._warnings),
        )
        self._clear()
        return report

    def take_news(self) -> tuple[dict[tuple[str, str, int], list[Event]], int]:
        """Return what `on_error` has not heard yet, and how many more events it cannot be shown."""
        news, more = self.news, self.news_lost
        self.news, self.news_lost, self._news_count = {}, 0, 0
        return news, more

    def _tell(self, event: Event, code: str, message: str, status: int) -> None:
        # on_error is slower than what it hears of, or it calls the client, would hear of what that costs, and call again.
        if self._news_count >= MOST_DETAILS or get_ident() in self.telling:
            self.news_lost += 1
            return
        self._news_count += 1
        self.news.setdefault((code, message, status), []).append(event)
