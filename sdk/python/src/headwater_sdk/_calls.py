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
    ALIAS,
    GROUP,
    IDENTIFY,
    LIBRARY,
    NO_CONTEXT,
    PAGE,
    REST_OF_CONTEXT,
    SCREEN,
    TRACK,
    Refused,
    add_id,
    check,
    fill,
    finish,
)
from headwater_sdk._record import t
from headwater_sdk._report import DeliveryError
from headwater_sdk._time import iso
from headwater_sdk._usual import usual

TYPE_CHECKING = False
if TYPE_CHECKING:
    from headwater_sdk._message import Shape
    from headwater_sdk._options import Settings
    from headwater_sdk._report import Event

MOST_ACCOUNTS = 10_000


class Calls:
    """Builds messages. Each call returns whether the event was taken, and the message."""

    def _configure(self, settings: Settings) -> None:
        self.settings = settings
        self.write_key, self.host = settings.target.write_key, settings.target.url.geturl()
        self.debug, self.send, self.strict = settings.debug, settings.send, settings.strict
        self._new_id: t.Callable[[], str] = uuid7
        self._wall: t.Callable[[], float] = time.time
        self._account: t.Optional[str] = None
        self._accounts: OrderedDict[str, str] = OrderedDict()

    def track(
        self,
        user_id: t.Id = None,
        event: t.Optional[str] = None,
        properties: t.Object = None,
        context: t.Object = None,
        timestamp: t.Moment = None,
        anonymous_id: t.Id = None,
        integrations: t.Object = None,
        message_id: t.Id = None,
    ) -> t.Result:
        """Say that a user did something."""
        return self._call(
            TRACK, user_id, anonymous_id, event, None, properties, context, timestamp, integrations, message_id,
        )  # fmt: skip

    def identify(
        self,
        user_id: t.Id = None,
        traits: t.Object = None,
        context: t.Object = None,
        timestamp: t.Moment = None,
        anonymous_id: t.Id = None,
        integrations: t.Object = None,
        message_id: t.Id = None,
    ) -> t.Result:
        """Say who a user is."""
        return self._call(
            IDENTIFY, user_id, anonymous_id, None, None, traits, context, timestamp, integrations, message_id
        )

    def alias(
        self,
        previous_id: t.Id = None,
        user_id: t.Id = None,
        context: t.Object = None,
        timestamp: t.Moment = None,
        integrations: t.Object = None,
        message_id: t.Id = None,
    ) -> t.Result:
        """Say that two ids are one user."""
        return self._call(
            ALIAS, user_id, None, previous_id, None, None, context, timestamp, integrations, message_id
        )

    def group(
        self,
        user_id: t.Id = None,
        group_id: t.Id = None,
        traits: t.Object = None,
        context: t.Object = None,
        timestamp: t.Moment = None,
        anonymous_id: t.Id = None,
        integrations: t.Object = None,
        message_id: t.Id = None,
    ) -> t.Result:
        """Say which account a user belongs to, and what is known about the account."""
        return self._call(
            GROUP, user_id, anonymous_id, group_id, None, traits, context, timestamp, integrations, message_id
        )

    def page(
        self,
        user_id: t.Id = None,
        category: t.Optional[str] = None,
        name: t.Optional[str] = None,
        properties: t.Object = None,
        context: t.Object = None,
        timestamp: t.Moment = None,
        anonymous_id: t.Id = None,
        integrations: t.Object = None,
        message_id: t.Id = None,
    ) -> t.Result:
        """Say that a user saw a page."""
        return self._call(
            PAGE, user_id, anonymous_id, category, name, properties, context, timestamp, integrations, message_id,
        )  # fmt: skip

    def screen(
        self,
        user_id: t.Id = None,
        category: t.Optional[str] = None,
        name: t.Optional[str] = None,
        properties: t.Object = None,
        context: t.Object = None,
        timestamp: t.Moment = None,
        anonymous_id: t.Id = None,
        integrations: t.Object = None,
        message_id: t.Id = None,
    ) -> t.Result:
        """Say that a user saw a screen of a mobile app."""
        return self._call(
            SCREEN, user_id, anonymous_id, category, name, properties, context, timestamp, integrations, message_id,
        )  # fmt: skip

    @property
    def b2b(self) -> t.B2B:
        """The ten events of the B2B SaaS specification, such as `client.b2b.trial_started(...)`."""
        from headwater_sdk.b2b import B2B

        return B2B(self.track)

    # --- accounts ---------------------------------------------------------------------------------------------------

    def account(self, group_id: str) -> bind:
        """Put this account on the calls within a `with` block, as `context.groupId`."""
        return bind(account=group_id)

    def set_account(self, group_id: t.Optional[str], user_id: t.Id = None) -> None:
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
        shape: Shape,
        user_id: t.Id,
        anonymous_id: t.Id,
        first: t.Any,
        second: t.Any,
        body: t.Object,
        context: t.Object,
        timestamp: t.Moment,
        integrations: t.Object,
        message_id: t.Id,
    ) -> t.Result:
        # The id has its place; a given one is the app's object, which may raise when it is looked at.
        message: dict[str, t.Any] = {"type": shape.kind, "messageId": "", "timestamp": iso(self._wall())}
        try:
            if message_id:
                add_id(message, "messageId", message_id)
            else:
                message["messageId"] = self._new_id()
            if self._account or self._accounts or current() is not NOTHING:
                user_id, anonymous_id, context = self._with_bound(shape.kind, user_id, anonymous_id, context)
            plain = timestamp is None and integrations is None and message_id is None
            event = plain and usual(shape, message, user_id, anonymous_id, first, second, body, context)
            if not event:
                fill(shape, message, user_id, anonymous_id, first, second, body)
                finish(message, context, integrations, timestamp)
                check(message)
                event = self._encoded(message)
            if self.strict or self.debug:
                self._look(event)
            return not self.send or self._put(event), message
        except Refused as refused:
            return self._refuse(message, refused.code, refused.message, refused)
        except EncodeError as refused:
            return self._refuse(message, "bad_request", str(refused), refused)
        except DeliveryError:
            raise  # strict
        except Exception as error:
            if self.strict:
                raise
            log().exception("a %s call failed within the SDK; the app goes on", shape.kind)
            why = f"{type(error).__name__} while the event was made; the log has its trace"
            return self._refuse(message, "call_failed", why, error)

    def _encoded(self, message: dict[str, t.Any]) -> bytes:
        """Encode a message of any shape; the library's part is added to both."""
        event, problems = encode(message)
        context = message.get("context")
        if context:
            # The context is the last part of a message, so that both end here.
            event = event[:-2] + REST_OF_CONTEXT.encode()
            context["library"] = LIBRARY.copy()
        else:
            event = event[:-1] + b',"context":' + NO_CONTEXT.encode()
            message["context"] = {"library": LIBRARY.copy()}
        if problems:
            self._warn([str(problem) for problem in problems])
        return event

    def _look(self, event: bytes) -> None:
        if self.strict and len(event) > MOST_EVENT_BYTES:
            raise Refused(
                "event_too_large", f"{len(event):,} bytes; an event has at most {MOST_EVENT_BYTES:,}"
            )
        if self.debug:
            log().debug("%s", event.decode())

    def _refuse(self, message: dict[str, t.Any], code: str, why: str, error: Exception) -> t.Result:
        if self.strict:
            raise error
        message["messageId"] = message["messageId"] or self._new_id()
        self._note_refused(message, code, why)
        return False, message

    def _with_bound(
        self, kind: str, user_id: t.Id, anonymous_id: t.Id, context: t.Object
    ) -> tuple[t.Id, t.Id, t.Object]:
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
