"""Why a body is no call, as precisely as it can be told without repeating what stands in it. Pure."""

from __future__ import annotations

import json
from typing import Self

_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


class Unreadable(str):
    """A code of `codes.REFUSALS`; `detail` says what is wrong with this body, where more is known than the code means."""

    __slots__ = ("detail",)
    detail: str

    def __new__(cls, code: str, detail: str = "") -> Self:
        """The code, with its detail."""
        made = super().__new__(cls, code)
        made.detail = detail
        return made


def not_json(body: bytes, error: Exception) -> Unreadable:
    """A body that no parser reads, and what the most patient one said of it."""
    if not body.strip():
        return Unreadable("empty_body")
    for magic, name in _COMPRESSED:
        if body.startswith(magic):
            return Unreadable(
                "invalid_json", f"the body is compressed; say so with the header Content-Encoding: {name}"
            )
    if isinstance(error, json.JSONDecodeError):
        place = f"at character {error.pos} of {len(error.doc)}"
        return Unreadable("invalid_json", f"the body is not JSON: {error.msg} {place}")
    told = str(error).partition(":")[
        0
    ]  # too deep, or a number of thousands of digits; the rest is advice for programmers
    return Unreadable("invalid_json", f"the body is not JSON we can read: {told}")
