"""A call as a message: the shape of the six types, and why a message is refused before it is sent."""

from __future__ import annotations

from typing import Any, Optional

from headwater_sdk._time import given, iso
from headwater_sdk._version import VERSION

LIBRARY = {"name": "headwater-python", "version": VERSION}


class Refused(ValueError):
    """A message that no server would accept; `code` is the collector's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def begin(kind: str, message_id: Any, timestamp: Any, now: float) -> dict[str, Any]:
    """Return the message's first fields; a timestamp that cannot be read is refused by `finish`."""
    written = iso(now) if timestamp is None else given(timestamp)
    return {"type": kind, "messageId": message_id, "timestamp": iso(now) if written is None else written}


def add_id(message: dict[str, Any], key: str, value: Any) -> None:
    """Put an id as text; None and empty text are no ids and stay out."""
    if value is None or value == "":
        return
    if not isinstance(value, str):
        value = _text_of_id(key, value)
    message[key] = value


def _text_of_id(key: str, value: Any) -> str:
    import numbers
    import uuid

    if isinstance(value, bool) or not isinstance(value, (numbers.Number, uuid.UUID)):
        raise Refused("id_not_string", f"{key} is {value!r:.80}; pass a str, a number or a UUID")
    return str(int(value)) if isinstance(value, int) else str(value)


def add_text(message: dict[str, Any], key: str, value: Any) -> None:
    """Put a name or category; None and empty text stay out."""
    if not value:
        return
    if not isinstance(value, str):
        raise Refused(f"{key}_not_string", f"{key} is {value!r:.80}; pass a str")
    message[key] = value


def add_object(message: dict[str, Any], key: str, value: Any) -> None:
    """Put properties or traits: always an object."""
    if value is not None and not isinstance(value, dict):
        raise Refused(f"{key}_not_object", f"{key} is {value!r:.80}; pass a dict")
    message[key] = value or {}


def finish(
    message: dict[str, Any], context: Optional[dict[str, Any]], integrations: Any, timestamp: Any
) -> None:
    """Put context and integrations, and check what the type needs."""
    if integrations:
        if not isinstance(integrations, dict):
            raise Refused("bad_request", f"integrations is {integrations!r:.80}; pass a dict")
        message["integrations"] = integrations
    message["context"] = {**context, "library": LIBRARY} if context else {"library": LIBRARY}
    check(message)
    if timestamp is not None and given(timestamp) is None:
        raise Refused("bad_request", f"timestamp is {timestamp!r:.80}; pass a datetime or seconds since 1970")


def check(message: dict[str, Any]) -> None:
    """Raise Refused where the collector would reject the message."""
    kind = message["type"]
    if kind == "alias":
        if "userId" not in message or "previousId" not in message:
            raise Refused("id_required", "alias needs user_id and previous_id")
        return
    if kind == "group" and "groupId" not in message:
        raise Refused("id_required", "group needs group_id")
    if "userId" not in message and "anonymousId" not in message:
        raise Refused("no_user_anon_id", f"{kind} needs user_id or anonymous_id")
    if kind == "track" and not message.get("event"):
        raise Refused("event_not_defined", "track needs a non-empty event")
