"""Time as the wire has it: ISO-8601 in UTC with milliseconds."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

# The last text of a second, which is the dear part, and of a millisecond, which a burst of calls writes many times, after
# the seconds from when and until when it holds. Tuples, so that threads cannot mix two.
_second = (-1, "")
_millisecond = (0.0, 0.0, "")


def iso(seconds: float) -> str:
    """Write seconds since 1970; cut to milliseconds, never rounded into the future."""
    global _millisecond  # noqa: PLW0603
    since, until, text = _millisecond
    if since <= seconds < until:
        return text
    millis, text = _written(seconds)
    if millis > 0:  # `int` cuts towards 1970, so that before it a millisecond ends elsewhere
        _millisecond = (seconds, (millis + 0.95) / 1_000, text)  # in the year 9999 a double is 0.03 ms off
    return text


def _written(seconds: float) -> tuple[int, str]:
    """Milliseconds since 1970, and their text."""
    global _second  # noqa: PLW0603
    millis = int(seconds * 1_000 + 1e-4)  # 1.678 is 1.67799... as a double
    whole = millis // 1_000
    second, text = _second
    if whole != second:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = (whole, text)
    return millis, "%s.%03dZ" % (text, millis - whole * 1_000)  # noqa: UP031 - twice as fast as the f-string


def given(moment: Any) -> Optional[str]:
    """Write a timestamp that the caller gave: a datetime, seconds since 1970, or ISO text as it is; None for others.

    A datetime without a zone is UTC, unless it is within five seconds of the local time: only `datetime.now()` gives that.
    """
    if isinstance(moment, str):
        return moment or None
    if isinstance(moment, bool):
        return None
    if isinstance(moment, (int, float)):
        # not by `iso`: it remembers, and this may be an object of the app's, or a time of long ago
        return _written(moment)[1] if -62_135_596_800 <= moment <= 253_402_300_799 else None
    import datetime as dt

    if not isinstance(moment, dt.datetime):
        return None
    if moment.tzinfo is None or moment.utcoffset() is None:
        now = dt.datetime.now()  # noqa: DTZ005 - local time is the question
        local = abs((now - moment.replace(tzinfo=None)).total_seconds()) < 5
        moment = moment.astimezone() if local else moment.replace(tzinfo=dt.timezone.utc)
    try:
        utc = moment.astimezone(dt.timezone.utc)
    except OverflowError:  # within a day of year 1 or 9999
        return str(moment.isoformat(timespec="milliseconds"))
    return str(utc.replace(tzinfo=None).isoformat(timespec="milliseconds")) + "Z"
