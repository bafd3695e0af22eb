"""The ten events of the B2B SaaS specification carry the names, properties and account that it asks for."""

from __future__ import annotations

import datetime as dt
import inspect
from typing import Any

import pytest

import headwater_sdk
from headwater_sdk import b2b
from headwater_sdk.testing import Recorder

TRIAL = {"trial_start_date": dt.date(2026, 1, 2), "trial_end_date": "2026-02-02", "trial_plan_name": "pro"}
TRIAL_SENT = {**TRIAL, "trial_start_date": "2026-01-02"}
PERSON = {
    "type": "invited",
    "first_name": "Ann",
    "last_name": "Lee",
    "email": "a@b.example",
    "phone": "1",
    "username": "ann",
    "title": "CTO",
}
INVITEE = {
    "invitee_email": "a@b.example",
    "invitee_first_name": "Bo",
    "invitee_last_name": "Li",
    "invitee_role": "admin",
}
EVENTS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("account_created", "Account Created", {"account_name": "Acme"}, {"account_name": "Acme"}),
    ("account_deleted", "Account Deleted", {"account_name": "Acme"}, {"account_name": "Acme"}),
    ("signed_up", "Signed Up", PERSON, PERSON),
    ("signed_in", "Signed In", {"username": "ann"}, {"username": "ann"}),
    ("signed_out", "Signed Out", {"username": "ann"}, {"username": "ann"}),
    ("invite_sent", "Invite Sent", INVITEE, INVITEE),
    ("account_added_user", "Account Added User", {"role": "admin"}, {"role": "admin"}),
    ("account_removed_user", "Account Removed User", {}, {}),
    ("trial_started", "Trial Started", TRIAL, TRIAL_SENT),
    ("trial_ended", "Trial Ended", TRIAL, TRIAL_SENT),
]


@pytest.mark.parametrize(("method", "event", "given", "sent"), EVENTS)
def test_an_event_has_its_name_its_properties_and_its_account(
    method: str, event: str, given: dict[str, Any], sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a client and by the module's default one; and every property of the specification is an argument."""
    recorder = Recorder()
    assert getattr(recorder.b2b, method)("u1", "acme", **given)[0] is True
    monkeypatch.setattr(headwater_sdk, "default_client", recorder)
    assert getattr(headwater_sdk.b2b, method)("u1", "acme", **given)[0] is True
    for message in recorder.messages:
        assert (message["event"], message["userId"]) == (event, "u1")
        assert message["properties"] == sent
        assert message["context"]["groupId"] == "acme"
    named = {
        n for n, p in inspect.signature(getattr(b2b, method)).parameters.items() if p.kind is p.KEYWORD_ONLY
    }
    assert named == set(given)


def test_the_ten_events_are_all_there() -> None:
    """No more and no fewer."""
    public = {name for name, _ in inspect.getmembers(b2b.B2B, inspect.isfunction) if not name.startswith("_")}
    assert public == {method for method, *_ in EVENTS}


def test_what_is_not_given_is_not_sent() -> None:
    """An account that is bound or set counts where none is given; further arguments are those of track."""
    recorder = Recorder()
    with recorder.account("acme"):
        recorder.b2b.signed_in("u1")
        recorder.b2b.signed_in(
            "u2", 42, properties={"sso": True}, context={"ip": "192.0.2.1"}, anonymous_id="a1"
        )
    bound, given = recorder.events("Signed In")
    assert bound["properties"] == {}
    assert bound["context"]["groupId"] == "acme"
    assert given["properties"] == {"sso": True}
    assert (given["context"]["groupId"], given["context"]["ip"], given["anonymousId"]) == (
        "42",
        "192.0.2.1",
        "a1",
    )


def test_a_wrong_argument_is_refused_as_track_does_and_never_raised() -> None:
    """Unless the client is strict."""
    recorder = Recorder(strict=False)
    assert recorder.b2b.signed_in("u1", "acme", username="ann", properties="sso")[0] is False
    assert recorder.b2b.signed_in("u1", "acme", context=["ip"])[0] is False
    assert [refused.code for refused in recorder.refused] == ["properties_not_object", "bad_request"]
