"""The middleware in Flask, and around bare WSGI applications on wsgiref's server."""

from __future__ import annotations

import io
import threading
import urllib.request
from typing import Any, Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import flask
import pytest
from sdk.python.tests.middleware_app import BROWSER, PAGE

from headwater_sdk._context import Bound, current
from headwater_sdk.middleware.wsgi import HeadwaterMiddleware
from headwater_sdk.testing import Recorder

HTML = [("Content-Type", "text/html")]


def environ(path: str = "/shoes") -> dict[str, Any]:
    """A browser's navigation, as a WSGI server has it."""
    made: dict[str, Any] = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in BROWSER.items()
    }
    setup_testing_defaults(made)
    return {
        **made,
        "SCRIPT_NAME": "/shop",
        "PATH_INFO": path,
        "QUERY_STRING": "gclid=x",
        "REMOTE_ADDR": "203.0.113.7",
    }


def run(app: Any, asked: dict[str, Any] | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
    """Call an application as a server does, with every check that wsgiref has."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started[:] = [status, headers]
        return lambda _: None

    body = validator(app)(asked or environ(), start_response)
    try:
        content = b"".join(body)
    finally:
        body.close()
    return started[0], started[1], content


def test_flask_sends_page_views_and_has_the_visitor_on_its_calls() -> None:
    """Within the view, and with the cookie for the next request."""
    recorder = Recorder()
    app = flask.Flask(__name__)
    app.wsgi_app = HeadwaterMiddleware(app.wsgi_app, recorder, trust_proxy=1)  # type: ignore[method-assign]

    @app.get("/shoes")
    def shoes() -> str:
        recorder.track(event="Product Viewed")
        return PAGE

    client = app.test_client()
    answer = client.get(
        "/shoes?utm_campaign=spring",
        headers={**BROWSER, "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"},
    )
    assert answer.text == PAGE
    cookie = answer.headers["Set-Cookie"]
    assert cookie.endswith("; Path=/; Max-Age=31536000; SameSite=Lax; Secure")
    anonymous_id = cookie.partition("=")[2].partition(";")[0]
    tracked = recorder.assert_tracked(
        "Product Viewed", anonymous_id=anonymous_id, context={"ip": "203.0.113.7"}
    )
    assert tracked["context"]["campaign"] == {"name": "spring"}
    recorder.assert_sent(
        "page",
        anonymous_id=anonymous_id,
        properties={"url": "https://shop.example/shoes?utm_campaign=spring", "title": "Blue & green shoes"},
    )
    assert current() == Bound()


def test_a_generator_is_read_within_the_request_and_closed() -> None:
    """Headers may come with the first part only; parts pass one by one; `close` reaches the application."""
    recorder = Recorder()
    ended: list[Bound] = []

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", HTML)
        try:
            yield b"<title>First</title>"
            recorder.track(event="Halfway")
            yield b"second"
        finally:
            ended.append(current())

    status, headers, content = run(HeadwaterMiddleware(app, recorder))
    assert (status, content) == ("200 OK", b"<title>First</title>second")
    assert [name for name, _ in headers] == ["Content-Type", "Set-Cookie"]
    assert [message["type"] for message in recorder.messages] == ["page", "track"]
    assert recorder.messages[0]["properties"]["path"] == "/shop/shoes"
    assert recorder.messages[1]["anonymousId"] == recorder.messages[0]["anonymousId"]
    assert recorder.messages[1]["context"]["clickIds"] == {"gclid": "x"}
    assert ended[0].anonymous_id == recorder.messages[0]["anonymousId"]
    assert current() == Bound()


def test_an_exception_of_the_app_goes_up_as_it_is() -> None:
    """Before the answer and in the middle of it."""

    def early(_environ: Any, start_response: Any) -> list[bytes]:
        raise ZeroDivisionError

    def late(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", HTML)
        raise ZeroDivisionError
        yield b""

    recorder = Recorder()
    for app in (early, late):
        with pytest.raises(ZeroDivisionError):
            run(HeadwaterMiddleware(app, recorder))
    assert recorder.messages == []
    assert current() == Bound()


def test_a_file_that_the_server_sends_is_left_to_it() -> None:
    """The server recognises its own wrapper only."""
    recorder = Recorder()

    def app(asked: Any, start_response: Any) -> Any:
        start_response("200 OK", HTML)
        return asked["wsgi.file_wrapper"](io.BytesIO(b"<p>"))

    asked = {**environ(), "wsgi.file_wrapper": FileWrapper}
    body = HeadwaterMiddleware(app, recorder)(asked, lambda *_: None)
    assert isinstance(body, FileWrapper)
    assert len(recorder.messages) == 1


def test_a_server_still_sees_the_length_of_a_single_part() -> None:
    """Python's own computes Content-Length from it; of a generator it does not ask."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    def app(asked: Any, start_response: Any) -> Any:
        start_response("200 OK", HTML)
        return [PAGE.encode()] if asked["PATH_INFO"] == "/one" else iter([PAGE.encode()])

    recorder = Recorder()
    with make_server("127.0.0.1", 0, HeadwaterMiddleware(app, recorder), handler_class=Quiet) as server:
        thread = threading.Thread(target=lambda: [server.handle_request() for _ in range(2)])
        thread.start()
        lengths = []
        for path in ("/one", "/many"):
            asked = urllib.request.Request(f"http://127.0.0.1:{server.server_port}{path}", headers=BROWSER)
            with urllib.request.urlopen(asked, timeout=10) as answer:
                assert answer.read() == PAGE.encode()
                lengths.append(answer.headers["Content-Length"])
        thread.join()
    assert lengths == [str(len(PAGE)), None]
    assert [message["context"]["ip"] for message in recorder.messages] == ["127.0.0.1"] * 2


def test_a_broken_sdk_does_not_break_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Not even with headers that no browser sends."""

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", HTML)
        return [b"fine"]

    recorder = Recorder()
    odd = {
        **environ("/\xff\x00"),
        "QUERY_STRING": "utm_\xff=%zz&gclid",
        "HTTP_COOKIE": ";;=;\xff=%ff; ajs_anonymous_id=%ff",
    }
    assert run(HeadwaterMiddleware(app, recorder), odd)[2] == b"fine"
    assert run(HeadwaterMiddleware(app, recorder, user_id=lambda asked: asked["nobody"]))[2] == b"fine"
    assert "without tracking" in caplog.text
    assert [message["properties"]["path"] for message in recorder.messages] == ["/shop/%FF%00"]


def test_a_page_that_the_browser_has_already_is_a_page_view_too() -> None:
    """A 304 has no body, and servers ask for its first part all the same."""
    recorder = Recorder()

    def unchanged(environ: Any, start_response: Any) -> Any:
        start_response("304 Not Modified", [])
        return []

    asked = {**environ(), "HTTP_COOKIE": "ajs_anonymous_id=a1"}
    assert run(HeadwaterMiddleware(unchanged, client=recorder), asked)[0] == "304 Not Modified"
    assert [message["anonymousId"] for message in recorder.events(type="page")] == ["a1"]


def test_a_status_that_is_no_number_is_the_apps_own() -> None:
    """What is wrong with it the server says, as it would without the middleware."""
    started: list[str] = []

    def odd(environ: Any, start_response: Any) -> Any:
        start_response("OK", HTML)
        return [b"x"]

    body = HeadwaterMiddleware(odd, client=Recorder())(environ(), lambda status, _: started.append(status))
    assert (list(body), started) == ([b"x"], ["OK"])
