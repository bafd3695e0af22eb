"""Writes the usual call as JSON in one go: a third cheaper than the long way.

Usual are ids and names that are text, a body and a context of exactly `dict`, and no more options: then the event is text
around two objects, and only those need the encoder. Whatever else an app may pass goes the long way, by `_message` and
`_encode`, which knows odd values and says what is wrong; tests compare both ways byte for byte.
"""

from __future__ import annotations

from headwater_sdk._encode import SHALLOW, may_be_deep, pieces, quote
from headwater_sdk._message import LIBRARY, NO_CONTEXT, REST_OF_CONTEXT, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


class UnusualError(ValueError):
    """A call that has to go the long way."""


def usual(
    shape: Shape,
    message: dict[str, Any],
    user_id: Any,
    anonymous_id: Any,
    first: Any,
    second: Any,
    body: Any,
    context: Any,
) -> Optional[bytes]:
    """Return the event, and complete `message`, which has its type, id and time; None where the call is not a usual one.

    What is put into the message before that turns out is what the long way puts there too.
    """
    try:
        if user_id and anonymous_id is None:
            people = ',"userId":' + quote(user_id)
            message["userId"] = user_id
        else:
            people = _people(shape, message, user_id, anonymous_id)
        if first and second is None:
            names = shape.first_text + quote(first)
            message[shape.first] = first
        else:
            names = _names(shape, message, first, second)
        written = ""
        if shape.body:
            if body is None:
                body = {}
            written = _object(body)
            message[shape.body] = body
        own = _own(context) + REST_OF_CONTEXT if context else NO_CONTEXT
        event = (
            f'{shape.head}{message["messageId"]}","timestamp":"{message["timestamp"]}"{people}{names}'
            f'{shape.body_text}{written},"context":{own}'
        ).encode()
        library = LIBRARY.copy()
        message["context"] = {**context, "library": library} if context else {"library": library}
    except Exception:  # noqa: BLE001 - not usual, or what `_encode` names
        return None
    return event


def _people(shape: Shape, message: dict[str, Any], user_id: Any, anonymous_id: Any) -> str:
    if user_id is None and (anonymous_id is None or shape.needs_user):
        raise UnusualError
    text = ""
    for key, value in (("userId", user_id), ("anonymousId", anonymous_id)):
        if value is not None:
            text += f',"{key}":{_text(value)}'
            message[key] = value
    return text


def _names(shape: Shape, message: dict[str, Any], first: Any, second: Any) -> str:
    if first is None and shape.needs_first:
        raise UnusualError
    text = ""
    for key, value in ((shape.first, first), (shape.second, second)):
        if value is not None:
            text += f',"{key}":{_text(value)}'
            message[key] = value
    return text


def _text(value: Any) -> str:
    if not value:
        raise UnusualError
    return quote(value)


def _own(context: Any) -> str:
    """Write a context without its closing brace."""
    text = _object(context)
    if (
        text == "{}" or '"library":' in text
    ):  # asked of what is sent: another thread may change the dict meanwhile
        raise UnusualError  # it is our library that is sent
    return text[:-1]


def _object(value: Any) -> str:
    if type(value) is not dict:
        raise UnusualError
    # It raises at a cycle, NaN and odd keys; the assignment does at a huge value, which has more pieces.
    [text] = pieces(value, 0)
    if len(text) >= SHALLOW and may_be_deep(text):
        raise UnusualError
    return text
