"""The six calls with the arguments and the order of segment-analytics-python, for every kind of client."""

from __future__ import annotations

import time
from collections import OrderedDict

from headwater_sdk._context import NOTHING, bind, current
from headwater_sdk._core import MOST_EVENT_BYTES
from headwater_sdk._encode import EncodeError, encode
from headwater_sdk._ids import uuid7
from headwater_sdk._log import log
from headwater_sdk._message import (
    BARE_CONTEXT,
    LIBRARY,
    REST_OF_CONTEXT,
    Refused,
    add_id,
    add_object,
    add_text,
    check,
    finish,
)
from headwater_sdk._report import DeliveryError
from headwater_sdk._time import iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from typing import Any, Callable, Optional, Union

    from headwater_sdk._options import Settings
    from headwater_sdk._report import Event
    from headwater_sdk.b2b import B2B

    Id = Union[str, int, float, uuid.UUID, None]
    Moment = Union[dt.datetime, str, float, None]
    Object = Optional[dict[str, Any]]
    Result = tuple[bool, dict[str, Any]]

MOST_ACCOUNTS = 10_000


class Calls:
    """Builds messages. Each call returns whether the event was taken, and the message."""

    def _configure(self, settings: Settings) -> None:
        self.settings = settings
        self.write_key, self.host = settings.target.write_key, settings.target.url.geturl()
        self.debug, self.send, self.strict = settings.debug, settings.send, settings.strict
        self._new_id: Callable[[], str] = uuid7
        self._wall: Callable[[], float] = time.time
        self._account: Optional[str] = None
        self._accounts: OrderedDict[str, str] = OrderedDict()

    def track(
        self,
        user_id: Id = None,
        event: Optional[str] = None,
        properties: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: Id = None,
        integrations: Object = None,
        message_id: Id = None,
    ) -> Result:
        """Say that a user did something."""
        names = (("event", event),)
        extra = (context, timestamp, integrations, message_id)
        return self._call("track", user_id, anonymous_id, extra, (), names, "properties", properties)

    def identify(
        self,
        user_id: Id = None,
        traits: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: Id = None,
        integrations: Object = None,
        message_id: Id = None,
    ) -> Result:
        """Say who a user is."""
        extra = (context, timestamp, integrations, message_id)
        return self._call("identify", user_id, anonymous_id, extra, (), (), "traits", traits)

    def alias(
        self,
        previous_id: Id = None,
        user_id: Id = None,
        context: Object = None,
        timestamp: Moment = None,
        integrations: Object = None,
        message_id: Id = None,
    ) -> Result:
        """Say that two ids are one user."""
        ids = (("previousId", previous_id),)
        extra = (context, timestamp, integrations, message_id)
        return self._call("alias", user_id, None, extra, ids, (), "", None)

    def group(
        self,
        user_id: Id = None,
        group_id: Id = None,
        traits: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: Id = None,
        integrations: Object = None,
        message_id: Id = None,
    ) -> Result:
        """Say which account a user belongs to, and what is known about the account."""
        ids = (("groupId", group_id),)
        extra = (context, timestamp, integrations, message_id)
        return self._call("group", user_id, anonymous_id, extra, ids, (), "traits", traits)

    def page(
        self,
        user_id: Id = None,
        category: Optional[str] = None,
        name: Optional[str] = None,
        properties: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: Id = None,
        integrations: Object = None,
        message_id: Id = None,
    ) -> Result:
        """Say that a user saw a page."""
        names = (("category", category), ("name", name))
        extra = (context, timestamp, integrations, message_id)
        return self._call("page", user_id, anonymous_id, extra, (), names, "properties", properties)

    def screen(
        self,
        user_id: Id = None,
        category: Optional[str] = None,
        name: Optional[str] = None,
        properties: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: Id = None,
        integrations: Object = None,
        message_id: Id = None,
    ) -> Result:
        """Say that a user saw a screen of a mobile app."""
        names = (("category", category), ("name", name))
        extra = (context, timestamp, integrations, message_id)
        return self._call("screen", user_id, anonymous_id, extra, (), names, "properties", properties)

    @property
    def b2b(self) -> B2B:
        """The ten events of the B2B SaaS specification, such as `client.b2b.trial_started(...)`."""
        from headwater_sdk.b2b import B2B

        return B2B(self.track)

    # --- accounts ---------------------------------------------------------------------------------------------------

    def account(self, group_id: str) -> bind:
        """Put this account on the calls within a `with` block, as `context.groupId`."""
        return bind(account=group_id)

    def set_account(self, group_id: Optional[str], user_id: Id = None) -> None:
        """Put this account on all following calls, or on those of one user; None clears it.

        A bound account (`with client.account(...)`) wins over a user's, a user's over the client's, and what a call gives
        in its context over all. The 10,000 users that were set last are remembered.
        """
        if user_id is None:
            self._account = group_id
            return
        key = str(user_id)
        self._accounts.pop(key, None)
        if group_id is not None:
            self._accounts[key] = group_id
            if len(self._accounts) > MOST_ACCOUNTS:
                self._accounts.popitem(last=False)

    # --- from call to event -----------------------------------------------------------------------------------------

    def _call(
        self,
        kind: str,
        user_id: Id,
        anonymous_id: Id,
        extra: tuple[Object, Moment, Object, Id],
        ids: tuple[tuple[str, Any], ...],
        names: tuple[tuple[str, Any], ...],
        body_key: str,
        body: Object,
    ) -> Result:
        message: dict[str, Any] = {
            "type": kind,
            "messageId": "",  # its place; the given one is the app's object, which may raise when it is looked at
            "timestamp": iso(self._wall()),
        }
        try:
            context, timestamp, integrations, message_id = extra
            if message_id:
                add_id(message, "messageId", message_id)
            else:
                message["messageId"] = self._new_id()
            if self._account or self._accounts or current() is not NOTHING:
                user_id, anonymous_id, context = self._with_bound(kind, user_id, anonymous_id, context)
            _fill(message, user_id, anonymous_id, ids, names, body_key, body)
            if context or integrations or timestamp is not None:
                finish(message, context, integrations, timestamp)
            check(message)
            return self._take(message)
        except Refused as refused:
            return self._refuse(message, refused.code, refused.message, refused)
        except EncodeError as refused:
            return self._refuse(message, "bad_request", str(refused), refused)
        except DeliveryError:
            raise  # strict
        except Exception as error:
            if self.strict:
                raise
            log().exception("a %s call failed within the SDK; the app goes on", kind)
            why = f"{type(error).__name__} while the event was made; the log has its trace"
            return self._refuse(message, "call_failed", why, error)

    def _take(self, message: dict[str, Any]) -> Result:
        event, problems = encode(message)
        context = message.get("context")
        if context:
            event = event[:-2] + REST_OF_CONTEXT  # its end: the context is the last part of a message
            context["library"] = LIBRARY.copy()
        else:
            event = event[:-1] + BARE_CONTEXT
            message["context"] = {"library": LIBRARY.copy()}
        if problems:
            self._warn([str(problem) for problem in problems])
        if self.strict and len(event) > MOST_EVENT_BYTES:
            raise Refused(
                "event_too_large", f"{len(event):,} bytes; an event has at most {MOST_EVENT_BYTES:,}"
            )
        if self.debug:
            log().debug("%s", event.decode())
        if not self.send:
            return True, message
        return self._put(event), message

    def _refuse(self, message: dict[str, Any], code: str, why: str, error: Exception) -> Result:
        if self.strict:
            raise error
        message["messageId"] = message["messageId"] or self._new_id()
        self._note_refused(message, code, why)
        return False, message

    def _with_bound(self, kind: str, user_id: Id, anonymous_id: Id, context: Object) -> tuple[Id, Id, Object]:
        """Fill in what is bound to the work at hand, without joining two people.

        A call about another user than the bound one does not get the bound anonymous id: identities would be merged.
        """
        if context is not None and not isinstance(context, dict):
            raise Refused("bad_request", f"context is {context!r:.80}; pass a dict")
        bound = current()
        if bound.user_id is not None or bound.anonymous_id is not None:
            no_user, no_visitor = user_id in (None, ""), anonymous_id in (None, "")  # 0 is an id
            if no_user and no_visitor:
                user_id, anonymous_id = bound.user_id, bound.anonymous_id
            elif no_visitor and bound.user_id in (None, str(user_id)):
                anonymous_id = bound.anonymous_id
            elif no_user and anonymous_id == bound.anonymous_id:
                user_id = bound.user_id
        if bound.context:
            context = {**bound.context, **(context or {})}
        account = (
            bound.account or self._accounts.get(str(user_id), self._account) if kind != "group" else None
        )
        if account and not (context and "groupId" in context):
            context = {**(context or {}), "groupId": account}
        return user_id, anonymous_id, context

    # --- what a client does with it ---------------------------------------------------------------------------------

    def _put(self, event: bytes) -> bool:
        raise NotImplementedError

    def _note_refused(self, message: Event, code: str, why: str) -> None:
        raise NotImplementedError

    def _warn(self, texts: list[str]) -> None:
        raise NotImplementedError


def _fill(
    message: dict[str, Any],
    user_id: Id,
    anonymous_id: Id,
    ids: tuple[tuple[str, Any], ...],
    names: tuple[tuple[str, Any], ...],
    body_key: str,
    body: Object,
) -> None:
    """Put ids, names and the body; what is as it should be, which is nearly always, without further calls."""
    if type(user_id) is str and user_id:
        message["userId"] = user_id
    elif user_id is not None:
        add_id(message, "userId", user_id)
    if anonymous_id is not None:
        add_id(message, "anonymousId", anonymous_id)
    for key, value in ids:
        add_id(message, key, value)
    for key, value in names:
        if type(value) is str and value:
            message[key] = value
        elif value:
            add_text(message, key, value)
    if type(body) is dict:
        message[body_key] = body
    elif body_key:
        add_object(message, body_key, body)
