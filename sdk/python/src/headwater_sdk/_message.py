"""A call as a message: the shape of the six types, and why a message is refused before it is sent."""

from __future__ import annotations

from headwater_sdk._time import given
from headwater_sdk._version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

LIBRARY = {"name": "headwater-python", "version": VERSION}
# The library's part as JSON, which would else be encoded anew for each call. It ends the event: it is the last part of the
# context, and that the last of the message. With it a context that is else empty, or what follows its other parts.
_WRITTEN = f'"library":{{"name":"{LIBRARY["name"]}","version":"{VERSION}"}}}}}}'
NO_CONTEXT = f"{{{_WRITTEN}"
REST_OF_CONTEXT = f",{_WRITTEN}"


class Shape:
    """A kind of call: the keys of what it takes beside the ids of people, and the JSON before their values."""

    __slots__ = (
        "body", "body_text", "first", "first_is_id", "first_text", "head", "kind", "needs_first", "needs_user", "second",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        first: str = "",
        second: str = "",
        body: str = "",
        *,
        first_is_id: bool = False,
        needs_first: bool = False,
        needs_user: bool = False,
    ) -> None:
        self.kind, self.first, self.second, self.body = kind, first, second, body
        self.first_is_id, self.needs_first, self.needs_user = first_is_id, needs_first, needs_user
        self.head = f'{{"type":"{kind}","messageId":"'
        self.first_text, self.body_text = (f',"{key}":' if key else "" for key in (first, body))


TRACK = Shape("track", "event", body="properties", needs_first=True)
IDENTIFY = Shape("identify", body="traits")
ALIAS = Shape("alias", "previousId", first_is_id=True, needs_first=True, needs_user=True)
GROUP = Shape("group", "groupId", body="traits", first_is_id=True, needs_first=True)
PAGE = Shape("page", "category", "name", body="properties")
SCREEN = Shape("screen", "category", "name", body="properties")


class Refused(ValueError):
    """A message that no server would accept; `code` is the collector's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def add_id(message: dict[str, Any], key: str, value: Any) -> None:
    """Put an id as text; None and empty text are no ids and stay out."""
    if isinstance(value, str):
        if value:
            message[key] = value
    elif value is not None:
        message[key] = _text_of_id(key, value)


def _text_of_id(key: str, value: Any) -> str:
    import numbers
    import uuid

    if isinstance(value, bool) or not isinstance(value, (numbers.Number, uuid.UUID)):
        raise Refused("id_not_string", f"{key} is {value!r:.80}; pass a str, a number or a UUID")
    return str(int(value)) if isinstance(value, int) else str(value)


def fill(
    shape: Shape, message: dict[str, Any], user_id: Any, anonymous_id: Any, first: Any, second: Any, body: Any
) -> None:
    """Put ids, names and the body."""
    add_id(message, "userId", user_id)
    add_id(message, "anonymousId", anonymous_id)
    if shape.first_is_id:
        add_id(message, shape.first, first)
    else:
        add_text(message, shape.first, first)
    add_text(message, shape.second, second)
    if shape.body:
        add_object(message, shape.body, body)


def add_text(message: dict[str, Any], key: str, value: Any) -> None:
    """Put a name or category; nothing where there is none."""
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
    """Put a given time, integrations and, as the last, the context without the library: that is added to the JSON."""
    if not (context or integrations or timestamp is not None):
        return
    if integrations:
        if not isinstance(integrations, dict):
            raise Refused("bad_request", f"integrations is {integrations!r:.80}; pass a dict")
        message["integrations"] = integrations
    if timestamp is not None:
        written = given(timestamp)
        if written is None:
            raise Refused(
                "bad_request", f"timestamp is {timestamp!r:.80}; pass a datetime or seconds since 1970"
            )
        message["timestamp"] = written
    if context:
        if not isinstance(context, dict):
            raise Refused("bad_request", f"context is {context!r:.80}; pass a dict")
        own = {**context}
        own.pop("library", None)  # it is ours that is added
        if own:
            message["context"] = own


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
    if kind == "track" and "event" not in message:
        raise Refused("event_not_defined", "track needs a non-empty event")
