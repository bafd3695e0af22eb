"""Dead letters of lines that have no row. Pure."""

from __future__ import annotations

import logging

import msgspec
import orjson
from msgspec import Raw

from destinations.kit.records import Dead
from headwater.nesting import is_deeper

logger = logging.getLogger(__name__)

_DEPTH = 400  # levels of JSON that every reader of letters takes, whatever stack it has left


def unreadable(error: Exception, line: bytes, now_ms: int) -> Dead:
    """The letter of a line that no row can be made of."""
    if isinstance(error, ValueError):
        return dead_letter("UNREADABLE_EVENT", str(error), line, now_ms)
    return failed(error, line, now_ms)


def failed(error: Exception, line: bytes, now_ms: int) -> Dead:
    """The letter of an event that should have had a row."""
    logger.warning("an event's mapping failed: %s", type(error).__name__)
    return dead_letter("MAPPING_FAILED", type(error).__name__, line, now_ms)


def dead_letter(code: str, detail: str, line: bytes, now_ms: int) -> Dead:
    """The dead letter of a line; one that is no JSON, or deeper than letters may be, is kept as a JSON string."""
    event = Raw(line if _is_json(line) else orjson.dumps(line.decode("utf-8", "replace")))
    return Dead(at_ms=now_ms, code=code, detail=detail[:2_000], attempts=1, first_ms=now_ms, event=event)


def _is_json(line: bytes) -> bool:
    """Whether a line is JSON that all who read letters can decode."""
    if is_deeper(line, _DEPTH):
        return False
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
