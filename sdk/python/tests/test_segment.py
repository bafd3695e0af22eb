"""Programs written for segment-analytics-python run with the import and the host changed.

Each program here runs against both packages; the messages that reach the server are the same but for what differs on
purpose: ids that no caller gave, the library's name, `Z` for `+00:00`, and nulls and empty objects that are left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Callable

import pytest
from sdk.python.tests.loopback import Loopback, serving

import headwater_sdk
from headwater_sdk import Client

segment = pytest.importorskip(
    "segment.analytics", reason="the comparison needs the other package (dev group)"
)


@pytest.fixture
def module() -> Iterator[Any]:
    """The module-level functions, with settings and default client as new before and after."""
    yield headwater_sdk
    client, headwater_sdk.default_client = headwater_sdk.default_client, None
    if client is not None:
        client.shutdown(0)
    for name in headwater_sdk._SETTINGS:
        default = inspect.signature(Client).parameters[name].default
        setattr(headwater_sdk, name, default)


def everything(client: Any) -> None:
    """Use every argument of every call, by position."""
    at = datetime(2014, 9, 3, tzinfo=timezone.utc)
    rest: tuple[Any, ...] = ({"ip": "192.0.2.1"}, at, "anon-1", {"Amplitude": True}, "message-1")
    client.track("u1", "Event", {"property": "value"}, *rest)
    client.identify("u1", {"trait": "value"}, *rest)
    client.group("u1", "g1", {"trait": "value"}, *rest)
    client.page("u1", "category", "name", {"property": "value"}, *rest)
    client.screen("u1", "category", "name", {"property": "value"}, *rest)
    client.alias("before", "u1", {"ip": "192.0.2.1"}, at, {"Amplitude": True}, "message-2")


def little(client: Any) -> None:
    """Give only what is needed, by name; numbers as ids; a large one keeps its digits."""
    client.track(user_id=157963456373623802, event="Event")
    client.identify(anonymous_id=157963456373623803)
    client.group(user_id=1, group_id="g1")
    client.page(user_id="u1")
    client.screen(user_id="u1", name="name")
    client.alias(previous_id="before", user_id="u1")


def values(client: Any) -> None:
    """Pass what Python programs pass."""
    client.identify(
        "u1", {"birthdate": date(1981, 2, 2), "balance": Decimal("12.5"), "tags": ("a", "b"), "ünï": "ç€"}
    )


def naive_times(client: Any) -> None:
    """A timestamp without a zone is UTC."""
    client.track("u1", "Event", timestamp=datetime(2014, 9, 3, 12, 30, 1, 250_000), message_id="m")


def plain(server: Loopback) -> list[dict[str, Any]]:
    """Take away what differs on purpose."""
    events = [event for _, body in server.requests for event in body["batch"]]
    for event in events:
        library = event["context"].pop("library")
        assert set(library) == {"name", "version"}
        if len(event["messageId"]) == 36:  # made by the library
            del event["messageId"], event["timestamp"]
        else:
            event["timestamp"] = event["timestamp"].replace("+00:00", "Z")
        for key in [key for key, value in event.items() if value is None]:
            del event[key]
        if not event.get("integrations"):
            event.pop("integrations", None)
    return events


@pytest.mark.parametrize("program", [everything, little, values, naive_times])
@pytest.mark.parametrize("sync_mode", [False, True])
def test_the_same_program_sends_the_same_messages(program: Callable[[Any], None], sync_mode: bool) -> None:
    """Argument names, their order, and what becomes of values."""
    sent = []
    for kind in (segment.Client, Client):
        with serving() as server:
            client = kind("wk", host=server.url, sync_mode=sync_mode)
            program(client)
            if not sync_mode:
                client.shutdown()
            elif kind is not Client:
                segment.request._session.close()  # theirs stays open otherwise
            sent.append(
                (plain(server), server.requests[0][0]["Authorization"], server.requests[0][1]["writeKey"])
            )
    assert sent[0] == sent[1]
    assert sent[0][0]


def test_every_argument_has_its_name_and_place() -> None:
    """Ours may have more, behind theirs; their settings that have no effect are accepted."""
    for name in ("track", "identify", "group", "page", "screen", "alias"):
        theirs = list(inspect.signature(getattr(segment.Client, name)).parameters)
        assert list(inspect.signature(getattr(Client, name)).parameters) == theirs
    theirs = [
        name
        for name in inspect.signature(segment.Client).parameters
        if not name.startswith(("oauth", "max_total", "max_rate"))
    ]
    assert list(inspect.signature(Client).parameters)[: len(theirs)] == theirs
    names = {
        name
        for name in vars(segment)
        if name in vars(segment.Client.DefaultConfig) and not name.startswith(("_", "oauth"))
    }
    assert names <= set(headwater_sdk._SETTINGS)
    Client("wk", "http://localhost", max_total_backoff_duration=1, oauth_scope="x", oauth_client_id=None)
    with pytest.raises(ValueError, match="oauth_client_id"):
        Client("wk", "http://localhost", oauth_client_id="x")
    with pytest.raises(TypeError, match="no_such_option"):
        Client("wk", "http://localhost", no_such_option=1)


def test_a_call_returns_success_and_the_message() -> None:
    """The message as sent, for logs and dead letters."""
    client = Client("wk", "http://localhost", send=False)
    success, message = client.track("u1", "Event", {"a": 1}, message_id=12)
    assert success is True
    assert message == {
        "type": "track", "messageId": "12", "timestamp": message["timestamp"], "userId": "u1", "event": "Event",
        "properties": {"a": 1}, "context": {"library": {"name": "headwater-python", "version": headwater_sdk.__version__}},
    }  # fmt: skip


def test_a_full_queue_returns_false_with_the_message_and_does_not_raise() -> None:
    """With drop_newest, as Segment's queue; the default drops the oldest."""
    with serving("silent") as server:
        client = Client(
            "wk",
            server.url,
            max_queue_size=1,
            upload_size=1,
            overflow="drop_newest",
            on_error=lambda *_: None,
        )
        client.track("u1", "under way")
        server.wait_for(1)
        assert client.track("u1", "waits")[0] is True
        success, message = client.track("u1", "too much")
        assert (success, message["event"]) == (False, "too much")
        server.released.set()
        client.shutdown(0)


def test_upload_size_bounds_a_request() -> None:
    """Twenty events in tens make two requests."""
    with serving() as server, Client("wk", server.url, upload_size=10, upload_interval=3) as client:
        for _ in range(20):
            client.identify("u1", {"trait": "value"})
        server.wait_for(2)
    assert [len(body["batch"]) for _, body in server.requests] == [10, 10]


def test_events_wait_for_company_no_longer_than_the_interval() -> None:
    """Without a flush, one event is sent after `upload_interval`."""
    with serving() as server:
        client = Client("wk", server.url, upload_interval=0.05)
        client.track("u1", "Event")
        server.wait_for(1)
        client.shutdown()


def test_shutdown_leaves_nothing_queued_and_no_thread() -> None:
    """A thousand events, then the end."""
    with serving() as server:
        client = Client("wk", server.url)
        for _ in range(1_000):
            client.identify("u1", {"trait": "value"})
        thread = client._pipeline._thread
        assert thread is not None
        report = client.shutdown()
        assert (report.delivered, client.queued) == (1_000, 0)
        thread.join(10)
        assert not thread.is_alive()
    assert len(set(server.ids)) == 1_000


def test_a_message_without_ids_is_refused_and_reported_instead_of_raising() -> None:
    """A difference on purpose: Segment raises AssertionError into the app; here that takes strict=True."""
    with pytest.raises(AssertionError):
        segment.Client("wk", send=False).track(event="Event")
    heard = []
    client = Client(
        "wk", "http://localhost", on_error=lambda error, events: heard.append((error.code, events))
    )  # type: ignore[attr-defined]
    success, message = client.track(event="Event")
    assert success is False
    assert [item.code for item in client.flush(10).rejected] == ["no_user_anon_id"]
    assert heard == [("no_user_anon_id", [message])]
    with pytest.raises(ValueError, match="no_user_anon_id"):
        Client("wk", "http://localhost", strict=True).track(event="Event")


def test_a_client_without_key_or_host_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constructor is the place to fail; the environment may give both."""
    for name in ("HEADWATER_WRITE_KEY", "HEADWATER_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        ValueError, match="write_key is None; pass the write key of a source, or set HEADWATER_WRITE_KEY"
    ):
        Client()
    with pytest.raises(ValueError, match="host is None; pass the collector's URL"):
        Client("wk")
    for host in (
        "localhost:8080",
        "ftp://x",
        "http://",
        "http://x:y",
        "http://a b",
        "http://x/a b",
        "http://x/?y=1",
    ):
        with pytest.raises(ValueError, match="host is"):
            Client("wk", host)
    monkeypatch.setenv("HEADWATER_WRITE_KEY", "env")
    monkeypatch.setenv("HEADWATER_HOST", "https://in.example")
    assert (Client().write_key, Client().host) == ("env", "https://in.example")
    assert Client(host="https://in.example \n").host == "https://in.example"


def test_the_module_sends_with_its_settings(module: Any) -> None:
    """`import headwater_sdk as analytics`, settings, calls."""
    with serving() as server:
        module.write_key, module.host, module.gzip, module.max_queue_size = "wk", server.url, True, 1337
        module.track("u1", "Event")
        module.identify("u1", {"email": "ada@example.com"})
        module.group("u1", "g1")
        module.alias("before", "u1")
        module.page("u1")
        module.screen("u1")
        assert module.flush().delivered == 6
        assert module.default_client.max_queue_size == 1337
        module.shutdown()
    assert server.requests[0][0]["Content-Encoding"] == "gzip"
    assert [event["type"] for event in server.requests[0][1]["batch"]] == [
        "track",
        "identify",
        "group",
        "alias",
        "page",
        "screen",
    ]


def test_the_module_without_a_key_logs_and_does_not_raise(
    module: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing setting must not take the app down; `strict` makes it an error."""
    monkeypatch.delenv("HEADWATER_WRITE_KEY", raising=False)
    assert module.track("u1", "Event") == (False, {})
    assert module.flush() is None
    assert "headwater_sdk sends nothing: write_key is None" in caplog.text
    module.strict = True
    with pytest.raises(ValueError, match="write_key"):
        module.track("u1", "Event")


def test_debug_prints_each_call_and_its_delivery(module: Any, caplog: pytest.LogCaptureFixture) -> None:
    """To see what an app sends, and that it arrives."""
    with serving() as server, caplog.at_level("DEBUG", "headwater_sdk"):
        client = Client("wk", server.url, debug=True)
        try:
            client.track("u1", "Event", {"a": 1})
            client.shutdown()
        finally:
            client.log.handlers.clear()
            client.log.setLevel(0)
    assert '"event":"Event"' in caplog.text
    assert "sent 1 events, attempt 1: HTTP 200" in caplog.text


def test_a_naive_local_now_is_recognised() -> None:
    """`datetime.now()` is the usual mistake; as in Segment's library it is read as local time, all else as UTC."""
    client = Client("wk", "http://localhost", send=False)
    _, message = client.track("u1", "Event", timestamp=datetime.now())
    sent = datetime.fromisoformat(message["timestamp"].replace("Z", "+00:00"))
    assert abs(datetime.now(timezone.utc) - sent) < timedelta(seconds=10)
