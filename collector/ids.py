"""Ids: coercion of what clients send, and message ids for events that bring none."""

from __future__ import annotations

import secrets
from decimal import Decimal


def canonical(value: str | float) -> str:
    """An id as a string: strings as they are, numbers in plain decimal digits (`123.0` is `123`, `1e3` is `1000`)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(Decimal(value)) if abs(value) >= 1 << 64 else str(value)
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def new_message_id(now_ms: int) -> str:
    """A UUID version 7: unique, and sorted by the time it was made (milliseconds since 1970)."""
    bits = (now_ms & ((1 << 48) - 1)) << 80 | secrets.randbits(80)
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
