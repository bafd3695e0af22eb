"""The middleware in FastAPI and Starlette, and around bare ASGI applications."""

from __future__ import annotations

from typing import Any, AsyncIterator

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from sdk.python.tests.loopback import serving
from sdk.python.tests.middleware_app import BROWSER, PAGE
from starlette.testclient import TestClient

import headwater_sdk
from headwater_sdk import AsyncClient
from headwater_sdk._context import Bound, current
from headwater_sdk.middleware.asgi import HeadwaterMiddleware
from headwater_sdk.testing import Recorder


def app_with(recorder: Recorder | AsyncClient, **options: Any) -> TestClient:
    """A shop: a page, an API, a stream, a failure, a websocket."""
    app = FastAPI()
    app.add_middleware(HeadwaterMiddleware, client=recorder, **options)

    @app.get("/shoes", response_class=HTMLResponse)
    async def shoes() -> str:
        recorder.track(event="Product Viewed")
        return PAGE

    @app.get("/threaded")
    def threaded() -> JSONResponse:
        recorder.track(event="Product Viewed")
        return JSONResponse({})

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"<title>First</title>"
            recorder.track(event="Halfway")
            yield b"second"

        return StreamingResponse(parts(), media_type="text/html")

    @app.get("/fails")
    async def fails() -> None:
        raise ZeroDivisionError

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")

    return TestClient(app, base_url="http://shop.example", raise_server_exceptions=False)


def test_a_fresh_visitor_gets_an_id_and_is_the_same_one_on_every_call() -> None:
    """The page view, what the app tracks within the request, and the next request after the cookie was set."""
    recorder = Recorder()
    client = app_with(recorder)
    answer = client.get("/shoes?utm_source=news", headers=BROWSER)
    anonymous_id = client.cookies["ajs_anonymous_id"]
    assert answer.text == PAGE
    tracked = recorder.assert_tracked("Product Viewed", anonymousId=anonymous_id)
    assert tracked["context"]["ip"] == "testclient"
    assert tracked["context"]["userAgent"] == "Mozilla/5.0"
    assert tracked["context"]["campaign"] == {"source": "news"}
    assert tracked["context"]["page"]["path"] == "/shoes"
    recorder.assert_sent(
        "page",
        anonymousId=anonymous_id,
        properties={
            "title": "Blue & green shoes",
            "url": "http://shop.example/shoes?utm_source=news",
            "host": "shop.example",
        },
    )
    recorder.clear()
    assert "set-cookie" not in client.get("/shoes", headers=BROWSER).headers
    recorder.assert_sent("page", anonymousId=anonymous_id)
    assert current() == Bound()


def test_views_in_threads_have_the_visitor_too() -> None:
    """FastAPI runs plain functions in a pool with a copy of the context; an API's answer sets no cookie."""
    recorder = Recorder()
    answer = app_with(recorder).get(
        "/threaded", headers={**BROWSER, "Cookie": "ajs_anonymous_id=a1; ajs_user_id=u1"}
    )
    assert "set-cookie" not in answer.headers
    recorder.assert_tracked("Product Viewed", user_id="u1", anonymous_id="a1")
    assert recorder.events(type="page") == []


def test_a_stream_is_passed_on_as_it_comes() -> None:
    """The page view is sent with the first part, before the app goes on."""
    recorder = Recorder()
    assert app_with(recorder).get("/stream", headers=BROWSER).text == "<title>First</title>second"
    assert [message["type"] for message in recorder.messages] == ["page", "track"]
    assert recorder.messages[0]["properties"]["title"] == "First"


def test_websockets_and_failures_are_the_apps_own() -> None:
    """An exception goes up to the server as it was; nothing is counted."""
    recorder = Recorder()
    client = app_with(recorder)
    with client.websocket_connect("/socket") as socket:
        assert socket.receive_text() == "hello"
    assert client.get("/fails", headers=BROWSER).status_code == 500
    assert recorder.messages == []
    assert current() == Bound()


async def test_what_is_not_http_is_passed_through_as_the_very_same_objects() -> None:
    """Lifespan and extensions that are not known yet."""
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.extend(arguments)

    async def receive() -> Any: ...

    async def send(_: Any) -> None: ...

    scope = {"type": "lifespan"}
    await HeadwaterMiddleware(app, Recorder())(scope, receive, send)
    assert [id(argument) for argument in seen] == [id(scope), id(receive), id(send)]


async def test_a_page_that_the_server_sends_from_a_file_is_a_page_view() -> None:
    """Servers with the path-send extension get no body from the application."""
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]}
        )
        await send({"type": "http.response.pathsend", "path": "/srv/index.html"})

    async def nothing(*_: Any) -> Any: ...

    headers = [(b"accept", b"text/html"), (b"cookie", b"ajs_anonymous_id=a1")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    await HeadwaterMiddleware(app, recorder)(scope, nothing, nothing)
    assert [message["anonymousId"] for message in recorder.events(type="page")] == ["a1"]


async def test_paths_are_as_the_visitor_typed_them() -> None:
    """Percent-encoded, with or without the server's `raw_path`, and with no client and no Host header."""
    recorder = Recorder()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/html")]}
        )
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any: ...

    async def send(_: Any) -> None: ...

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/sko/blå",
        "headers": [(b"accept", b"text/html")],
        "server": ("127.0.0.1", 80),
    }
    await HeadwaterMiddleware(app, recorder)(scope, receive, send)
    await HeadwaterMiddleware(app, recorder)({**scope, "raw_path": b"/a%2Fb", "server": None}, receive, send)
    urls = [message["properties"]["url"] for message in recorder.messages]
    assert urls == ["http://127.0.0.1/sko/bl%C3%A5", "http://localhost/a%2Fb"]
    assert "ip" not in recorder.messages[0]["context"]


def test_without_a_client_the_default_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the module's functions."""
    recorder = Recorder()
    monkeypatch.setattr(headwater_sdk, "default_client", recorder)
    app = FastAPI(default_response_class=HTMLResponse)
    app.add_middleware(HeadwaterMiddleware)
    app.get("/")(lambda: PAGE)
    TestClient(app).get("/", headers=BROWSER)
    assert len(recorder.events(type="page")) == 1


def test_a_broken_sdk_does_not_break_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the client nor in the app's own functions."""

    class Broken(Recorder):
        def page(self, *args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError

    client = app_with(Broken())
    assert client.get("/shoes", headers=BROWSER).text == PAGE
    client = app_with(Recorder(), consent=lambda scope: scope["nothing"])
    assert client.get("/threaded", headers={**BROWSER, "Cookie": "ajs_anonymous_id=a"}).status_code == 500
    assert client.get("/fails", headers=BROWSER).status_code == 500
    assert "was not sent" in caplog.text
    assert "without tracking" in caplog.text


async def test_with_an_asynchronous_client_the_page_view_is_delivered_on_the_loop() -> None:
    """No thread is involved, and the answer does not wait for the delivery."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]}
        )
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any: ...

    async def send(_: Any) -> None: ...

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept", b"text/html")]}
    with serving() as server:
        async with AsyncClient("wk", server.url) as client:
            await HeadwaterMiddleware(app, client)(scope, receive, send)
            assert (await client.flush(20)).delivered == 1
        assert server.events == ["page"]
