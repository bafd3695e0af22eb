"""Send events from a shell.

    python -m headwater_sdk track --user-id u1 "Signed Up" plan=pro seats:=5
    python -m headwater_sdk batch < events.ndjson

`name=value` is a text, `name:=value` is JSON. Exit code: 0 all delivered, 1 not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from typing import Any, Optional, Sequence, TextIO

from headwater_sdk import Client, FlushReport
from headwater_sdk._message import Refused
from headwater_sdk._version import VERSION

# The call, its positional argument, and what its key=value pairs are.
_CALLS = {
    "track": ("event", "properties"),
    "identify": (None, "traits"),
    "page": ("name", "properties"),
    "screen": ("name", "properties"),
    "group": ("group_id", "traits"),
    "alias": ("previous_id", None),
}
_IDS = {"userId": "user_id", "anonymousId": "anonymous_id", "groupId": "group_id", "previousId": "previous_id",
        "messageId": "message_id"}  # fmt: skip
_FIELDS = {"event", "name", "category", "properties", "traits", "context", "timestamp", "integrations"}


class UsageError(Exception):
    """A command line or an input line that makes no call."""


def main(arguments: Optional[Sequence[str]] = None, stdin: TextIO = sys.stdin) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        # Blocks rather than drops: a file may have more lines than the queue has room for.
        client = Client(chosen.write_key, chosen.host, strict=True, overflow="block", timeout=chosen.timeout)
    except ValueError as error:
        return _wrong(error)
    code = 0
    try:
        if chosen.call == "batch":
            _send_lines(client, stdin)
        else:
            _send_one(client, chosen)
    except (UsageError, Refused, UnicodeDecodeError) as error:
        code = _wrong(error)
    undelivered = _print(client.shutdown(chosen.timeout))
    return code or undelivered


def _wrong(error: Exception) -> int:
    print(f"headwater_sdk: {error}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m headwater_sdk", description="Send events to Headwater.")
    parser.add_argument("--version", action="version", version=f"headwater-sdk {VERSION}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--write-key", help="of the source (HEADWATER_WRITE_KEY)")
    shared.add_argument("--host", help="the collector's URL (HEADWATER_HOST)")
    shared.add_argument("--timeout", type=float, default=15, help="seconds to wait for the delivery (15)")
    calls = parser.add_subparsers(dest="call", required=True)
    for name, (positional, _) in _CALLS.items():
        call = calls.add_parser(name, parents=[shared], help=f"send one {name}")
        call.add_argument("--user-id")
        if name != "alias":
            call.add_argument("--anonymous-id")
        call.add_argument("--timestamp", help="when it happened, ISO-8601 (now)")
        call.add_argument("--message-id", help="the same one is counted once (a new one)")
        call.add_argument("--context", type=json.loads, help="a JSON object")
        if positional:
            call.add_argument(positional, nargs="?" if positional == "name" else None)
        call.add_argument("pairs", nargs="*", metavar="name=value", help="texts; name:=value for JSON")
    calls.add_parser(
        "batch", parents=[shared], help="send messages from standard input, a JSON object a line"
    )
    return parser


def _send_one(client: Client, chosen: argparse.Namespace) -> None:
    positional, body = _CALLS[chosen.call]
    call = {name: getattr(chosen, name, None) for name in ("user_id", "message_id", "context")}
    call["timestamp"] = _moment(chosen.timestamp)
    if chosen.call != "alias":
        call["anonymous_id"] = chosen.anonymous_id
    pairs = list(chosen.pairs)
    if positional:
        given = getattr(chosen, positional)
        if positional == "name" and given is not None and "=" in given:
            pairs, given = [given, *pairs], None  # a page without a name
        call[positional] = given
    if pairs and body is None:
        raise UsageError(f"{chosen.call} takes no {pairs[0]!r}; it has no properties or traits")
    if body is not None:
        call[body] = dict(map(_pair, pairs))
    getattr(client, chosen.call)(**{name: value for name, value in call.items() if value is not None})


def _moment(text: Optional[str]) -> Optional[datetime]:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(
            f"{text[:-1]}+00:00" if text.endswith("Z") else text
        )  # Z is read from Python 3.11
    except ValueError:
        raise UsageError(f"--timestamp is {text!r}; write it like 2026-01-02T03:04:05Z") from None


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.rstrip(":"):
        raise UsageError(f"{text!r} is no name=value")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except ValueError as error:
        raise UsageError(f"{text!r}: what stands after := is no JSON ({error})") from None


def _send_lines(client: Client, lines: TextIO) -> None:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            _send_message(client, json.loads(line))
        except (UsageError, Refused, ValueError) as error:
            raise UsageError(f"line {number}: {error}; the lines before it are sent") from None


def _send_message(client: Client, message: Any) -> None:
    kind = message.get("type") if isinstance(message, dict) else None
    if kind not in _CALLS:
        raise UsageError(f"type is {kind!r}; it must be one of {', '.join(_CALLS)}")
    unknown = sorted(set(message) - set(_IDS) - _FIELDS - {"type"})
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no field of a message")
    call = {_IDS.get(name, name): value for name, value in message.items() if name != "type"}
    try:
        getattr(client, kind)(**call)
    except TypeError:
        raise UsageError(f"{kind} takes none of {', '.join(sorted(message))}") from None


def _print(report: FlushReport) -> int:
    print(f"delivered {report.delivered}, rejected {report.rejected_count}, dropped {report.dropped_count}, "
          f"queued {report.queued}")  # fmt: skip
    for rejected in report.rejected:
        print(
            f"rejected {rejected.message_id} ({rejected.type}): {rejected.code}: {rejected.message}",
            file=sys.stderr,
        )
    for dropped in report.dropped:
        print(f"dropped {dropped.message_id} ({dropped.type}): {dropped.reason}", file=sys.stderr)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
