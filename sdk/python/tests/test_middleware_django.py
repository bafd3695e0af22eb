"""The middleware in Django, synchronous and asynchronous."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from django.test.utils import override_settings
from sdk.python.tests.middleware_app import PAGE

from headwater_sdk import Client
from headwater_sdk._context import Bound, current
from headwater_sdk.testing import Recorder

COOKIES = "ajs_anonymous_id=a1; ajs_user_id=u1"
BROWSER: dict[str, Any] = {
    "HTTP_ACCEPT": "text/html",
    "HTTP_USER_AGENT": "Mozilla/5.0",
    "HTTP_HOST": "shop.example",
}


@pytest.fixture(scope="module", autouse=True)
def _django() -> None:
    if not settings.configured:
        settings.configure(USE_I18N=False)
    django.setup()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """The client of the settings."""
    made = Recorder()
    with override_settings(HEADWATER={"client": made, "exclude": ["/admin"]}):
        yield made


def middleware(view: Any) -> Any:
    """Wrap a view as Django's handler does."""
    return importlib.import_module("headwater_sdk.middleware.django").HeadwaterMiddleware(view)


def test_a_page_is_sent_and_the_visitor_is_on_the_views_calls(recorder: Recorder) -> None:
    """With the cookie in Django's own way."""

    def view(_: Any) -> HttpResponse:
        recorder.track(event="Product Viewed")
        return HttpResponse(PAGE)

    response = middleware(view)(
        RequestFactory().get("/shoes/", {"utm_source": "news"}, secure=True, **BROWSER)
    )
    cookie = response.cookies["ajs_anonymous_id"]
    assert (
        cookie.OutputString()
        .partition("; expires")[2]
        .endswith("; Max-Age=31536000; Path=/; SameSite=Lax; Secure")
    )
    recorder.assert_tracked(
        "Product Viewed", anonymous_id=cookie.value, context={"campaign": {"source": "news"}}
    )
    recorder.assert_sent(
        "page",
        anonymous_id=cookie.value,
        properties={"url": "https://shop.example/shoes/?utm_source=news", "title": "Blue & green shoes"},
    )
    assert current() == Bound()


async def test_an_asynchronous_view_is_awaited_within_the_request(recorder: Recorder) -> None:
    """The same middleware, without a thread in between."""

    async def view(_: Any) -> HttpResponse:
        recorder.track(event="Product Viewed")
        return HttpResponse(PAGE)

    factory = AsyncRequestFactory()
    factory.cookies.load(COOKIES)
    response = await middleware(view)(factory.get("/shoes/", headers={"accept": "text/html"}))
    assert not response.cookies
    recorder.assert_tracked("Product Viewed", user_id="u1", anonymous_id="a1")
    recorder.assert_sent("page", user_id="u1", anonymous_id="a1")


@pytest.mark.parametrize(
    ("path", "response", "pages"),
    [
        ("/", lambda: JsonResponse({}), 0),
        ("/admin/", lambda: HttpResponse(PAGE), 0),
        ("/", lambda: StreamingHttpResponse([b"<title>A</title>"]), 1),
        ("/", lambda: HttpResponse(status=304), 1),
        ("/", lambda: HttpResponse(PAGE, status=404), 0),
    ],
)
def test_only_pages_are_page_views(recorder: Recorder, path: str, response: Any, pages: int) -> None:
    """A streamed answer is not read ahead for its title."""
    made = response()
    assert middleware(lambda _: made)(RequestFactory().get(path, **BROWSER)) is made
    assert len(recorder.messages) == pages
    assert all("title" not in message["properties"] for message in recorder.messages)


def test_an_exception_goes_up_and_nothing_stays_bound(recorder: Recorder) -> None:
    """Django's handlers turn it into an answer above."""

    def view(_: Any) -> HttpResponse:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        middleware(view)(RequestFactory().get("/", **BROWSER))
    assert recorder.messages == []
    assert current() == Bound()


@pytest.mark.parametrize(("signed_in", "expected"), [(True, "7"), (False, "u1")])
def test_the_user_of_djangos_session_counts_where_it_is_asked(signed_in: bool, expected: str) -> None:
    """Else the cookie."""
    from headwater_sdk.middleware.django import authenticated_user

    recorder = Recorder()
    request = RequestFactory().get("/", HTTP_COOKIE=COOKIES, **BROWSER)
    request.user = types.SimpleNamespace(pk=7, is_authenticated=signed_in)
    with override_settings(HEADWATER={"client": recorder, "user_id": authenticated_user}):
        middleware(lambda _: HttpResponse(PAGE))(request)
    recorder.assert_sent("page", user_id=expected, anonymous_id="a1")


def test_the_client_is_made_or_found_by_the_settings() -> None:
    """By its path, or from a write key, a host and further options; without any it is the module's default one."""
    with override_settings(
        HEADWATER={"write_key": "wk", "host": "http://127.0.0.1:1", "client_options": {"send": False}}
    ):
        client = middleware(HttpResponse).client
        assert isinstance(client, Client)
        assert (client.write_key, client.send) == ("wk", False)
    with override_settings(HEADWATER={"client": "headwater_sdk.testing.Recorder"}):
        assert middleware(HttpResponse).client is Recorder
    with override_settings(HEADWATER={}):
        assert middleware(HttpResponse).client is None
    with override_settings(HEADWATER={"exlude": []}), pytest.raises(TypeError, match="exlude"):
        middleware(HttpResponse)
