"""Answers as values: status, headers, body; and the CORS headers that every answer carries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from collector.codes import REFUSALS
from collector.items import Rejected
from headwater import limits
from headwater.workspace.model import Workspace

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
METHODS = b"POST, GET, OPTIONS"
REQUEST_HEADERS = ("authorization", "content-type", "content-encoding", "x-retry-count")
EXPOSED = b"retry-after, x-ratelimit-reset"
_PREFLIGHT_AGE = b"7200"  # the longest Chromium honours
_ORIGINS_KEPT = 1_024
STATUS_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
_encode = msgspec.json.Encoder().encode


class Reply(NamedTuple):
    """An answer, before its CORS headers."""

    status: int
    headers: Headers
    body: bytes


def json_reply(value: object, status: int = 200, *headers: tuple[bytes, bytes]) -> Reply:
    """An answer whose body is JSON."""
    body = _encode(value)
    return Reply(status, [JSON, (b"content-length", b"%d" % len(body)), *headers], body)


def refusal(code: str, message: str = "", *, retry_after: int = 0, close: bool = False) -> Reply:
    """A whole request refused: `{"code", "message"}`; `retry_after` in whole seconds, as SDKs read nothing else."""
    declared = REFUSALS[code]
    headers: Headers = []
    if retry_after:
        seconds = b"%d" % retry_after
        headers.append((b"retry-after", seconds))
        if declared.status == 429:
            headers.append((b"x-ratelimit-reset", seconds))
    if close:
        headers.append((b"connection", b"close"))
    return json_reply({"code": code, "message": message or declared.meaning}, declared.status, *headers)


SUCCESS = Reply(200, [JSON, (b"content-length", b"16")], b'{"success":true}')


def success(rejected: Sequence[Rejected]) -> Reply:
    """The 200 of an ingest route: exactly `{"success":true}`, with `rejected` only where there are some.

    Where a hostile body makes more rejections than are listed, `rejectedTotal` says how many there were.
    """
    if not rejected:
        return SUCCESS
    if len(rejected) <= limits.REJECTIONS_LISTED:
        return json_reply({"success": True, "rejected": rejected})
    listed = rejected[: limits.REJECTIONS_LISTED]
    return json_reply({"success": True, "rejected": listed, "rejectedTotal": len(rejected)})


def on_the_wire(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, keep_alive: bool
) -> tuple[bytes, bool]:
    """A whole answer over HTTP/1.1, and whether the connection stays: not where a header or `keep_alive` says so.

    The headers are ours, or values that the parser has checked.
    """
    lines = [STATUS_LINES[status]]
    sized = status in {204, 304}  # which have no body; 0 would be told as the length of what has not changed
    for name, value in headers:
        if name == b"content-length":
            sized = True
        elif name == b"connection" and value == b"close":
            keep_alive = False
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    if not sized:
        lines.append(b"content-length: %d\r\n" % len(body))
    lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    lines.append(body)
    return b"".join(lines), keep_alive


class Cors:
    """The CORS headers of one workspace, made once per origin."""

    def __init__(self, workspace: Workspace) -> None:
        settings = workspace.collector
        self._any = "*" in settings.cors_origins
        self._origins = frozenset(origin.rstrip("/").lower().encode() for origin in settings.cors_origins)
        self._any_header = "*" in settings.cors_headers
        named = (name for name in settings.cors_headers if name != "*")
        self._allowed = ", ".join((*REQUEST_HEADERS, *named)).encode()
        self._made: dict[bytes | None, Headers] = {}

    def headers(self, origin: bytes | None) -> Headers:
        """What every answer to this origin carries; the origin is echoed so that credentials work too."""
        found = self._made.get(origin)
        if found is None:
            found = self._make(origin)
            if len(self._made) < _ORIGINS_KEPT:
                self._made[origin] = found
        return found

    def preflight(self, asked: bytes | None) -> Reply:
        """The answer to OPTIONS; `asked` are the headers that the browser wants to send.

        Where any may be sent they are repeated: a `*` covers neither Authorization nor requests with credentials.
        """
        allowed = b"%b, %b" % (self._allowed, asked) if asked and self._any_header else self._allowed
        return Reply(
            204,
            [
                (b"access-control-allow-methods", METHODS),
                (b"access-control-allow-headers", allowed),
                (b"access-control-max-age", _PREFLIGHT_AGE),
            ],
            b"",
        )

    def _make(self, origin: bytes | None) -> Headers:
        if origin is None:
            return [(b"access-control-allow-origin", b"*")] if self._any else [(b"vary", b"origin")]
        vary = (b"vary", b"origin")
        if not self._any and origin.lower() not in self._origins:
            return [vary]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", EXPOSED),
            vary,
        ]
