"""What a call makes of its arguments beyond the contract: accounts, bound ids, odd values, and that nothing is raised."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given as given_values
from hypothesis import strategies as st

from headwater_sdk import AsyncClient, Client, bind
from headwater_sdk._message import LIBRARY
from headwater_sdk._time import given, iso


@pytest.fixture
def client() -> Client:
    """A client that sends nowhere; what is refused is in its report."""
    return Client("wk", "http://localhost", send=False)


def sent(result: tuple[bool, dict[str, Any]]) -> dict[str, Any]:
    """Return the message of a call that was taken."""
    assert result[0]
    return result[1]


def test_what_is_bound_goes_with_the_calls_within(client: Client) -> None:
    """A request binds once; track() in it needs no ids."""
    with bind(user_id="u1", anonymous_id="a1", account="acme", context={"ip": "192.0.2.1"}):
        message = sent(client.track(event="A", context={"locale": "nl"}))
    assert (message["userId"], message["anonymousId"]) == ("u1", "a1")
    assert message["context"] == {
        "ip": "192.0.2.1",
        "locale": "nl",
        "groupId": "acme",
        "library": message["context"]["library"],
    }
    assert sent(client.track("u2", "A"))["context"].keys() == {"library"}


def test_a_call_about_somebody_else_does_not_get_the_visitors_anonymous_id(client: Client) -> None:
    """It would join two people: an administrator's browser with the user that they edit."""
    with bind(user_id="admin", anonymous_id="a1"):
        assert "anonymousId" not in sent(client.track("u2", "Edited"))
        assert sent(client.track("admin", "Did"))["anonymousId"] == "a1"
        assert "userId" not in sent(client.track(anonymous_id="a2", event="Seen"))
        assert sent(client.track(anonymous_id="a1", event="Seen"))["userId"] == "admin"
    with bind(anonymous_id="a1"):  # not logged in yet: the login joins the two
        assert sent(client.identify("u1"))["anonymousId"] == "a1"


def test_accounts_are_put_by_nearness(client: Client) -> None:
    """The call's own context, then what is bound, then the user's, then the client's."""
    client.set_account("everyone")
    client.set_account("u1's", user_id="u1")
    assert sent(client.track("u2", "A"))["context"]["groupId"] == "everyone"
    assert sent(client.track("u1", "A"))["context"]["groupId"] == "u1's"
    with client.account("bound"):
        assert sent(client.track("u1", "A"))["context"]["groupId"] == "bound"
        assert sent(client.track("u1", "A", context={"groupId": "given"}))["context"]["groupId"] == "given"
        assert "groupId" not in sent(client.group("u1", "other"))["context"]
    client.set_account(None, user_id="u1")
    client.set_account(None)
    assert "groupId" not in sent(client.track("u1", "A"))["context"]


def test_the_accounts_of_users_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were set last are kept."""
    monkeypatch.setattr("headwater_sdk._calls.MOST_ACCOUNTS", 2)
    for user in ("u1", "u2", "u1", "u3"):
        client.set_account("acme", user_id=user)
    assert list(client._accounts) == ["u1", "u3"]


def test_the_callers_objects_are_not_changed(client: Client) -> None:
    """Segment's library writes the library into the context it was given."""
    context: dict[str, Any] = {"ip": "192.0.2.1"}
    with bind(account="acme", context={"locale": "nl"}):
        client.track("u1", "A", {"a": 1}, context)
    assert context == {"ip": "192.0.2.1"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"event": "A"}, "no_user_anon_id"),
        ({"user_id": "", "event": "A"}, "no_user_anon_id"),
        ({"user_id": True, "event": "A"}, "id_not_string"),
        ({"user_id": ["u1"], "event": "A"}, "id_not_string"),
        ({"user_id": "u1"}, "event_not_defined"),
        ({"user_id": "u1", "event": 5}, "event_not_string"),
        ({"user_id": "u1", "event": "A", "properties": [1]}, "properties_not_object"),
        ({"user_id": "u1", "event": "A", "context": "x"}, "bad_request"),
        ({"user_id": "u1", "event": "A", "integrations": ["x"]}, "bad_request"),
        ({"user_id": "u1", "event": "A", "timestamp": "x" and object()}, "bad_request"),
        ({"user_id": "u1", "event": "A", "message_id": b"x"}, "id_not_string"),
    ],
)
def test_what_no_server_would_take_is_refused_with_the_collectors_code(
    arguments: dict[str, Any], code: str
) -> None:
    """Reported like a rejection by the server; the app hears False, not an exception."""
    client = Client("wk", "http://localhost", on_error=lambda *_: None)
    success, _ = client.track(**arguments)
    report = client.flush(10)
    assert (success, [item.code for item in report.rejected], report.ok) == (False, [code], False)


def test_a_cycle_is_refused_and_an_unknown_value_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """The first cannot be sent; the second goes as its text, and the report says so."""
    client = Client("wk", "http://localhost", on_error=lambda *_: None)
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    assert client.track("u1", "A", cycle)[0] is False
    assert [item.code for item in client.flush(10).rejected] == ["bad_request"]
    client = Client("wk", "http://localhost", send=False)
    assert client.track("u1", "A", {"odd": object()})[0] is True
    [warning] = client.flush(0).warnings
    assert "properties.odd" in warning
    assert "properties.odd" in caplog.text


def test_a_defect_of_ours_does_not_reach_the_app(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """It is logged with its trace; under strict it is raised."""
    monkeypatch.setattr("headwater_sdk._calls.usual", lambda *_: 1 / 0)
    assert client.track("u1", "A")[0] is False
    assert "ZeroDivisionError" in caplog.text
    assert [item.code for item in client.flush(0).rejected] == ["call_failed"]
    with pytest.raises(ZeroDivisionError):
        Client("wk", "http://localhost", send=False, strict=True).track("u1", "A")


class Hostile:
    """A value of which every use raises."""

    def __bool__(self) -> bool:
        raise ValueError("no truth")

    __str__ = __repr__ = __eq__ = __hash__ = __bool__  # type: ignore[assignment]


@pytest.mark.parametrize(
    "argument",
    ["user_id", "event", "properties", "context", "timestamp", "anonymous_id", "integrations", "message_id"],
)
def test_a_value_that_raises_is_reported_and_does_not_reach_the_app(client: Client, argument: str) -> None:
    """The event cannot be sent, and the report says so: nothing is lost quietly."""
    taken, message = client.track(**{"user_id": "u1", "event": "A", argument: Hostile()})
    report = client.flush(0)
    assert (taken, report.ok, report.rejected_count) == (False, False, 1)
    rejected = report.rejected[0]
    assert (rejected.message_id, rejected.code) == (message["messageId"], "call_failed")
    assert len(rejected.message_id) == 36
    with pytest.raises(ValueError, match="no truth"):
        Client("wk", "http://localhost", send=False, strict=True).track("u1", "A", message_id=Hostile())  # type: ignore[arg-type]


def test_an_id_of_zero_is_not_replaced_by_the_bound_user(client: Client) -> None:
    """The first row of a table is a user like any other; a bound id and the same one as a number are one user."""
    with bind(user_id="admin", anonymous_id="a1"):
        message = sent(client.track(0, "A"))
    assert (message["userId"], "anonymousId" in message) == ("0", False)
    with bind(user_id="42", anonymous_id="a1"):
        assert sent(client.track(42, "A"))["anonymousId"] == "a1"


def test_ids_may_be_uuids_and_zero(client: Client) -> None:
    """As database keys are."""
    key = UUID("12345678123456781234567812345678")
    assert sent(client.track(key, "A", message_id=key))["userId"] == str(key)
    assert sent(client.track(0, "A"))["userId"] == "0"
    assert sent(client.track(1.5, "A"))["userId"] == "1.5"


def test_timestamps_are_utc_with_milliseconds() -> None:
    """Datetimes of any zone, seconds since 1970, and ISO text as it is."""
    plus_two = timezone(timedelta(hours=2))
    assert given(datetime(2025, 6, 1, 14, 30, 0, 250_999, plus_two)) == "2025-06-01T12:30:00.250Z"
    assert given(datetime(2025, 6, 1, 14, 30)) == "2025-06-01T14:30:00.000Z"
    assert given(1_767_323_045.678) == "2026-01-02T03:04:05.678Z"
    assert given("2026-01-02") == "2026-01-02"
    assert [given(value) for value in (True, None, b"", float("nan"), 1e20)] == [None] * 5
    assert given(datetime.min.replace(tzinfo=plus_two)) == "0001-01-01T00:00:00.000+02:00"
    assert [iso(seconds) for seconds in (0, 1.999, 2.0, 1.001)] == [
        "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.999Z", "1970-01-01T00:00:02.000Z", "1970-01-01T00:00:01.001Z",
    ]  # fmt: skip


@given_values(st.floats(-1e9, 253_402_300_799), st.lists(st.floats(-0.003, 0.003), max_size=5))
def test_a_time_does_not_depend_on_what_was_written_before(seconds: float, steps: list[float]) -> None:
    """The text of a millisecond is kept for what comes within it, and only for that."""
    for step in (0.0, *steps):
        millis = int((seconds + step) * 1_000 + 1e-4)
        whole = datetime(1970, 1, 1) + timedelta(seconds=millis // 1_000)
        assert iso(seconds + step) == f"{whole.isoformat()}.{millis % 1_000:03}Z"


async def heard_by_nobody(*_: Any) -> None:
    """An on_error that would have to be awaited."""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"overflow": "drop"},
            "overflow is 'drop'; it must be one of drop_oldest, drop_newest, block, spill",
        ),
        ({"overflow": "spill"}, "spill_dir is None"),
        ({"spill_dir": "/tmp/x"}, "spill_dir is '/tmp/x'"),
        ({"upload_size": 0}, "upload_size is 0; it must be at least 1"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"timeout": 0}, "timeout is 0"),
        (
            {"on_error": heard_by_nobody},
            "on_error is <function heard_by_nobody .*it must be a plain function",
        ),
        ({"timeout": float("inf")}, "timeout is inf; it must be seconds above 0, and at most 86,400"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_what_is_allowed(
    options: dict[str, Any], said: str
) -> None:
    """At the constructor, for both clients."""
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=said):
            kind("wk", "http://localhost", **options)
    with pytest.raises(ValueError, match="would stop the event loop"):
        AsyncClient("wk", "http://localhost", overflow="block")


@pytest.mark.parametrize(
    "context",
    [
        None,
        {},
        {"library": 1},
        {"ip": "192.0.2.1"},
        {"library": {"name": "x"}, "ip": "\u00e9"},
        {"a": float("nan")},
        {1: {}},
        {"a": {"b": {}}},
    ],
)
def test_what_is_sent_is_what_the_call_returns_with_the_sdks_own_library(
    client: Client, monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    """The library's JSON is put into that of each event; it fits after any context, and its dict is the caller's alone."""
    events: list[bytes] = []
    monkeypatch.setattr(client, "send", True)
    monkeypatch.setattr(client, "_put", lambda event: events.append(event) or True)
    message = sent(client.track("u1", "A", {"n": 1}, context))
    again = sent(client.track("u1", "A", {"n": 1}, context))
    own = {key: value for key, value in (context or {}).items() if key != "library"}
    assert list(json.loads(events[0])) == list(message)
    assert json.loads(events[0])["context"].keys() == {*map(str, own), "library"}
    assert json.loads(events[0])["context"]["library"] == message["context"]["library"] == LIBRARY
    assert message["context"]["library"] is not again["context"]["library"]
