"""ISO-8601 on the wire, integer milliseconds since 1970 (UTC) inside.

Parsing accepts what real clients send: RFC 3339 with any number of fraction digits, a missing zone (read as UTC), a bare
date, and epoch numbers in seconds or milliseconds told apart by magnitude. Anything else is `None`, never an exception.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MIN_MS: Final = -2_208_988_800_000  # 1900-01-01: the range ClickHouse's DateTime64 holds exactly
MAX_MS: Final = 10_413_791_999_999  # 2299-12-31T23:59:59.999
_MILLISECOND: Final = timedelta(milliseconds=1)
_FAST: Final = re.compile(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\Z", re.ASCII)
_SECONDS_BELOW: Final = (
    100_000_000_000  # epoch numbers below this are seconds (until the year 5138), above it milliseconds
)
_SECONDS_KEPT: Final = 4096
_FRACTION: Final = re.compile(r"([.,]\d+)")


class _Texts(dict[int, str]):
    """Seconds since 1970 as texts without a fraction, remembered.

    Asked by `__getitem__` as a function: for subclasses of dict that is faster than an index, and than `lru_cache`.
    """

    def __missing__(self, second: int) -> str:
        if len(self) >= _SECONDS_KEPT:
            self.clear()
        text = self[second] = (EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        return text


class _Seconds(dict[str, int | None]):
    """The inverse; None for a text of any other form."""

    def __missing__(self, text: str) -> int | None:
        if len(self) >= _SECONDS_KEPT:
            self.clear()
        second = self[text] = _second_of(text)
        return second


_text_of: Final = _Texts().__getitem__
_second: Final = _Seconds().__getitem__
_TAILS: Final = [f".{millis:03d}Z" for millis in range(1000)]
_MILLIS_OF: Final = {tail: millis for millis, tail in enumerate(_TAILS)}


def iso(ms: int) -> str:
    """Milliseconds since 1970 as `2026-01-02T03:04:05.678Z`."""
    return _text_of(ms // 1000) + _TAILS[ms % 1000]


def _second_of(prefix: str) -> int | None:
    if not _FAST.match(prefix):
        return None
    try:
        moment = datetime.fromisoformat(prefix + "+00:00")
    except ValueError:
        return None
    return (moment - EPOCH) // timedelta(seconds=1)


def canonical(text: str) -> int | None:
    """Milliseconds since 1970 of a text in exactly the form that `iso` writes, else None; needs no second formatting."""
    if (millis := _MILLIS_OF.get(text[19:])) is None or (second := _second(text[:19])) is None:
        return None
    return second * 1000 + millis


def shifted(text: str, by: int, latest: int) -> str | None:
    """The time `text`, which must be in exactly the form that `iso` writes, moved by so many milliseconds, in the same form.

    None where it has another form, or the result does not lie between MIN_MS and `latest`. The collector's hot path.
    """
    if (millis := _MILLIS_OF.get(text[19:])) is None or (second := _second(text[:19])) is None:
        return None
    ms = second * 1000 + millis + by
    return _text_of(ms // 1000) + _TAILS[ms % 1000] if MIN_MS <= ms <= latest else None


def parse(value: object) -> int | None:
    """Milliseconds since 1970 of an ISO-8601 string or an epoch number, or None where it is neither."""
    if type(value) is str:
        return _parse_slowly(value) if (ms := canonical(value)) is None else ms
    if type(value) is int:  # by itself: it may be beyond any float
        return _of_number(value) if abs(value) <= MAX_MS else None
    if type(value) is float:
        return _of_number(value) if abs(value) <= MAX_MS else None  # which NaN is not
    return None


def _of_number(number: float) -> int | None:
    return _in_range(round(number * 1000) if abs(number) < _SECONDS_BELOW else round(number))


def _parse_slowly(text: str) -> int | None:
    text = text.strip()
    if len(text) > 64:  # no timestamp is that long; do not hand an essay to the parser
        return None
    if text.isascii() and text.removeprefix("-").replace(".", "", 1).isdigit() and len(text) >= 9:
        return parse(float(text))
    text = _FRACTION.sub(lambda found: found[1][:7].replace(",", "."), text, count=1)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _in_range((moment - EPOCH) // _MILLISECOND)


def _in_range(ms: int) -> int | None:
    return ms if MIN_MS <= ms <= MAX_MS else None
