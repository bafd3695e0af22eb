"""What an answer of the server means for the batch that it answers. Pure: status, headers and body in, a verdict out."""

from __future__ import annotations

from headwater_sdk._record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Callable, Optional

LONGEST_RETRY_AFTER_S = 300
LONGEST_BACKOFF_S = 60.0
_LONGEST_TEXT = 200
_LONG_FOR_AN_ANSWER_S = 1.0

# Retried, but evidence against the batch: after `max_retries` of them it is dropped.
_COUNTED = frozenset((408, 425, 460))
# Retried and no evidence against the batch: the server is busy or away.
_FREE = frozenset((429, 503))
# A server that says so will say so again.
_NEVER_RETRIED = frozenset((501, 505, 511))


class Answer(NamedTuple):
    """An HTTP answer with lower-case header names; status 0 means that none came, for `reason`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reason: str = ""
    too_much: bool = False  # perhaps none came because the network is too slow for so many events


def lost(reason: str, *, too_much: bool = False) -> Answer:
    """No answer: the connection failed, broke, or stayed silent."""
    return Answer(0, {}, b"", reason, too_much)


def may_be_too_much(sent: Optional[bool], took: float, *, timed_out: bool) -> bool:
    """Say whether a request may have been too large for its network; `sent` is None where it found no connection.

    So it may when no answer came in time, when the connection broke within the body, or after so many seconds that the body
    was perhaps still on its way: a system takes over much of it at once.
    """
    return sent is not None and (timed_out or not sent or took >= _LONG_FOR_AN_ANSWER_S)


def fate(status: int) -> str:
    """Say what happens to a batch: `delivered`, `split`, `free` or `counted` (both sent again), `poison`."""
    if 200 <= status < 300:
        return "delivered"
    if status == 413:
        return "split"
    if status < 400 or status in _FREE:  # no answer; a redirect, which is never followed
        return "free"
    if status in _COUNTED or (500 <= status < 600 and status not in _NEVER_RETRIED):
        return "counted"
    return "poison"


def wait_after(answer: Answer, attempts: int, random: Callable[[], float], wall: float) -> float:
    """Return seconds to wait after the `attempts`-th failed attempt: full jitter, or what the server asks."""
    backoff: float = random() * min(LONGEST_BACKOFF_S, 0.5 * 2.0 ** min(attempts - 1, 10))
    asked = answer.headers.get("retry-after")
    if asked is None:
        asked = answer.headers.get("x-ratelimit-reset", "")
    return max(backoff, _seconds(asked.strip(), wall))


def _seconds(asked: str, wall: float) -> float:
    if asked.isdigit() and asked.isascii():
        return float(min(int(asked[:9]), LONGEST_RETRY_AFTER_S))
    if asked[:1].isalpha():  # an HTTP date begins with the name of a day
        from email.utils import parsedate_tz

        date = parsedate_tz(asked)
        if date is not None:
            from email.utils import mktime_tz

            try:
                return float(min(max(mktime_tz(date) - wall, 0.0), LONGEST_RETRY_AFTER_S))
            except (ValueError, OverflowError):  # a year that Python does not have
                return 0.0
    return 0.0


def refusal(answer: Answer) -> tuple[str, str]:
    """Return code and message of an answer that refuses the whole batch."""
    body = _json(answer.body)
    code = message = None
    if isinstance(body, dict):
        code, message = body.get("code"), body.get("message")
    if not isinstance(code, str) or not code:
        code = f"http_{answer.status}"
    if not isinstance(message, str):
        message = answer.body.decode("utf-8", "replace").strip()
    return code, message[:_LONGEST_TEXT]


def rejections(answer: Answer, size: int) -> dict[int, tuple[str, str]]:
    """Return code and message of the events, by index, that a 2xx answer rejects out of a batch of `size`."""
    if b'"rejected"' not in answer.body:  # nearly always: nothing to parse
        return {}
    body = _json(answer.body)
    listed = body.get("rejected") if isinstance(body, dict) else None
    found: dict[int, tuple[str, str]] = {}
    for item in listed if isinstance(listed, list) else []:
        index = item.get("index") if isinstance(item, dict) else None
        if isinstance(index, int) and 0 <= index < size:
            message = item.get("message")
            found[index] = (
                str(item.get("code") or "rejected"),
                message[:_LONGEST_TEXT] if isinstance(message, str) else "",
            )
    return found


def _json(body: bytes) -> Optional[Any]:
    import json

    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
