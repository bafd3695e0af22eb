"""The ten events of Segment's B2B SaaS specification, with their properties as arguments.

    client.b2b.trial_started("user-1", "acme", trial_plan_name="pro", trial_end_date=date(2026, 12, 24))
    headwater_sdk.b2b.signed_in("user-1", "acme", username="ann")

Each is a `track` whose `context.groupId` is the account. What is not given is not sent; further arguments are those of
`track`: `properties` (more of them), `context`, `timestamp`, `anonymous_id`, `integrations`, `message_id`.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from headwater_sdk._record import t

Text = Optional[str]


class B2B:
    """The events, sent by one client. Without an account the one that is set or bound counts."""

    def __init__(self, track: Callable[..., t.Result]) -> None:
        self._track = track

    def account_created(
        self, user_id: t.Id = None, account_id: t.Id = None, *, account_name: Text = None, **call: Any
    ) -> t.Result:
        """Say that an account was created; what is known about it goes with `group`."""
        return self._send("Account Created", user_id, account_id, {"account_name": account_name}, call)

    def account_deleted(
        self, user_id: t.Id = None, account_id: t.Id = None, *, account_name: Text = None, **call: Any
    ) -> t.Result:
        """Say that an account was deleted."""
        return self._send("Account Deleted", user_id, account_id, {"account_name": account_name}, call)

    def signed_up(
        self,
        user_id: t.Id = None,
        account_id: t.Id = None,
        *,
        type: Text = None,  # noqa: A002 - the property's name
        first_name: Text = None,
        last_name: Text = None,
        email: Text = None,
        phone: Text = None,
        username: Text = None,
        title: Text = None,
        **call: Any,
    ) -> t.Result:
        """Say that a user signed up; `type` says how, such as `invited` or `organic`."""
        given = {"type": type, "first_name": first_name, "last_name": last_name, "email": email, "phone": phone,
                 "username": username, "title": title}  # fmt: skip
        return self._send("Signed Up", user_id, account_id, given, call)

    def signed_in(
        self, user_id: t.Id = None, account_id: t.Id = None, *, username: Text = None, **call: Any
    ) -> t.Result:
        """Say that a user signed in."""
        return self._send("Signed In", user_id, account_id, {"username": username}, call)

    def signed_out(
        self, user_id: t.Id = None, account_id: t.Id = None, *, username: Text = None, **call: Any
    ) -> t.Result:
        """Say that a user signed out."""
        return self._send("Signed Out", user_id, account_id, {"username": username}, call)

    def invite_sent(
        self,
        user_id: t.Id = None,
        account_id: t.Id = None,
        *,
        invitee_email: Text = None,
        invitee_first_name: Text = None,
        invitee_last_name: Text = None,
        invitee_role: Text = None,
        **call: Any,
    ) -> t.Result:
        """Say that a user invited somebody into the account."""
        given = {"invitee_email": invitee_email, "invitee_first_name": invitee_first_name,
                 "invitee_last_name": invitee_last_name, "invitee_role": invitee_role}  # fmt: skip
        return self._send("Invite Sent", user_id, account_id, given, call)

    def account_added_user(
        self, user_id: t.Id = None, account_id: t.Id = None, *, role: Text = None, **call: Any
    ) -> t.Result:
        """Say that a user was added to an account."""
        return self._send("Account Added User", user_id, account_id, {"role": role}, call)

    def account_removed_user(self, user_id: t.Id = None, account_id: t.Id = None, **call: Any) -> t.Result:
        """Say that a user was removed from an account."""
        return self._send("Account Removed User", user_id, account_id, {}, call)

    def trial_started(
        self,
        user_id: t.Id = None,
        account_id: t.Id = None,
        *,
        trial_start_date: t.When = None,
        trial_end_date: t.When = None,
        trial_plan_name: Text = None,
        **call: Any,
    ) -> t.Result:
        """Say that an account's trial of a plan began."""
        given = {"trial_start_date": trial_start_date, "trial_end_date": trial_end_date,
                 "trial_plan_name": trial_plan_name}  # fmt: skip
        return self._send("Trial Started", user_id, account_id, given, call)

    def trial_ended(
        self,
        user_id: t.Id = None,
        account_id: t.Id = None,
        *,
        trial_start_date: t.When = None,
        trial_end_date: t.When = None,
        trial_plan_name: Text = None,
        **call: Any,
    ) -> t.Result:
        """Say that an account's trial of a plan ended."""
        given = {"trial_start_date": trial_start_date, "trial_end_date": trial_end_date,
                 "trial_plan_name": trial_plan_name}  # fmt: skip
        return self._send("Trial Ended", user_id, account_id, given, call)

    def _send(
        self, event: str, user_id: t.Id, account_id: t.Id, given: dict[str, Any], call: dict[str, Any]
    ) -> t.Result:
        properties = {name: value for name, value in given.items() if value is not None}
        call["properties"] = _with(call.get("properties"), properties)
        if account_id is not None:
            call["context"] = _with(call.get("context"), {"groupId": str(account_id)})
        return self._track(user_id, event, **call)


def _with(given: Any, more: dict[str, Any]) -> Any:
    """Add keys; what is no dict is left for `track` to refuse in its way, which does not raise into the app."""
    if given is None:
        return more
    return {**given, **more} if isinstance(given, dict) else given


def _default_track(*args: Any, **kwargs: Any) -> t.Result:
    import headwater_sdk

    return headwater_sdk.track(*args, **kwargs)


_default = B2B(_default_track)
account_created = _default.account_created
account_deleted = _default.account_deleted
signed_up = _default.signed_up
signed_in = _default.signed_in
signed_out = _default.signed_out
invite_sent = _default.invite_sent
account_added_user = _default.account_added_user
account_removed_user = _default.account_removed_user
trial_started = _default.trial_started
trial_ended = _default.trial_ended
