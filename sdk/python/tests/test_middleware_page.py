"""What the middleware reads from a request: pure cases, for all three frameworks alike."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sdk.python.tests.middleware_app import BROWSER

from headwater_sdk._context import current
from headwater_sdk.middleware import _page
from headwater_sdk.middleware._page import Request
from headwater_sdk.middleware._visit import Cookie, Nobody, Options, Visit, begin
from headwater_sdk.testing import Recorder

HTML = {"content-type": "text/html; charset=utf-8"}


def request(query: str = "", path: str = "/shoes", ip: str | None = "10.0.0.9", **headers: str) -> Request:
    """A browser's navigation, with other headers where given (`sec_gpc="1"`)."""
    merged = {name.lower(): value for name, value in BROWSER.items()}
    merged.update({name.replace("_", "-"): value for name, value in headers.items()})
    return Request("GET", "http", "shop.example", path, query, lambda name: merged.get(name) or None, ip)


def visit(asked: Request, **options: Any) -> tuple[Recorder, Visit | Nobody]:
    """Begin a visit with a client that records."""
    client = Recorder()
    return client, begin(client, lambda: asked, Options.of(options), asked)


def answered(asked: Request, headers: dict[str, str] | None = None, status: int = 200, **options: Any) -> tuple[Recorder, Cookie | None]:  # fmt: skip
    """Run a whole visit: what was sent, and the cookie that was set."""
    client, begun = visit(asked, **options)
    chosen = HTML if headers is None else headers
    cookie = begun.answer(status, lambda name: chosen.get(name, ""))
    begun.seen(b"<title>Shoes</title>")
    return client, cookie


def test_a_page_view_says_what_a_browser_would_have_said() -> None:
    """Properties, and the context that is on every call within the request."""
    client, cookie = answered(request("q=1&utm_source=news&utm_campaign=spring&utm_term=red&gclid=abc"))
    assert cookie is not None
    page = {
        "url": "http://shop.example/shoes?q=1&utm_source=news&utm_campaign=spring&utm_term=red&gclid=abc",
        "path": "/shoes",
        "search": "?q=1&utm_source=news&utm_campaign=spring&utm_term=red&gclid=abc",
        "referrer": "https://search.example/",
    }
    [message] = client.messages
    del message["messageId"], message["timestamp"], message["context"]["library"]
    assert client.messages == [
        {
            "type": "page",
            "anonymousId": cookie.value,
            "properties": {**page, "title": "Shoes", "host": "shop.example"},
            "context": {
                "ip": "10.0.0.9",
                "userAgent": "Mozilla/5.0",
                "locale": "nb-NO",
                "page": page,
                "campaign": {"source": "news", "name": "spring", "term": "red"},
                "clickIds": {"gclid": "abc"},
            },
        }
    ]


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ("ajs_anonymous_id=a-1", "a-1"),
        ("x=1; ajs_anonymous_id=%22a-1%22; y=2", "a-1"),
        ('ajs_anonymous_id="a-1"', "a-1"),
        ("ajs_anonymous_id=a%20b%C3%A9", "a bé"),
        ("ajs_anonymous_id=12", "12"),
        ("ajs_anonymous_id=a-1; ajs_anonymous_id=a-2", "a-1"),
    ],
)
def test_an_id_is_read_however_analytics_js_wrote_it(cookie: str, expected: str) -> None:
    """Bare by its newer versions, as JSON text by its older ones, percent-encoded by both; no cookie is set again."""
    client, set_cookie = answered(request(cookie=cookie))
    assert client.messages[0]["anonymousId"] == expected
    assert set_cookie is None


@pytest.mark.parametrize("value", ["", "null", "%22", "%22null", "x" * 501, '"1"x'])
def test_an_unusable_id_is_replaced(value: str) -> None:
    """The visitor gets a new one, rather than all visitors with a broken cookie becoming one."""
    client, cookie = answered(request(cookie=f"ajs_anonymous_id={value}"))
    assert cookie is not None
    assert client.messages[0]["anonymousId"] == cookie.value
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", cookie.value)


def test_the_cookie_lasts_a_year_and_scripts_may_read_it() -> None:
    """On https it is Secure; a domain is set where it is given."""
    _, cookie = answered(request())
    assert cookie is not None
    assert cookie.header() == f"ajs_anonymous_id={cookie.value}; Path=/; Max-Age=31536000; SameSite=Lax"
    _, cookie = answered(request(x_forwarded_proto="https"), trust_proxy=1, cookie_domain="example.com")
    assert cookie is not None
    assert cookie.header().endswith("; SameSite=Lax; Domain=example.com; Secure")


def test_who_is_signed_in_is_the_apps_word_before_the_cookies() -> None:
    """`ajs_user_id` is what the browser SDK knows; the function may know better."""
    asked = request(cookie="ajs_user_id=%22u-1%22")
    assert answered(asked)[0].messages[0]["userId"] == "u-1"
    assert answered(asked, user_id=lambda _: 2)[0].messages[0]["userId"] == "2"
    assert answered(asked, user_id=lambda _: None)[0].messages[0]["userId"] == "u-1"


@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "image/avif,*/*"},
        {"sec_fetch_dest": "image"},
        {"sec_fetch_dest": "empty"},
        {"sec_purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"x_moz": "prefetch"},
    ],
)
def test_what_nobody_navigated_to_is_no_page_view(headers: dict[str, str]) -> None:
    """Assets, scripts' fetches and pages loaded in case they are wanted; they set no cookie either."""
    client, cookie = answered(request(**headers))
    assert (client.messages, cookie) == ([], None)


@pytest.mark.parametrize(
    ("status", "headers", "pages"),
    [
        (200, HTML, 1),
        (304, {}, 1),
        (200, {"content-type": "application/xhtml+xml"}, 1),
        (200, {"content-type": "application/json"}, 0),
        (200, {}, 0),
        (302, HTML, 0),
        (404, HTML, 0),
        (500, HTML, 0),
    ],
)
def test_only_an_answer_that_showed_a_page_counts(status: int, headers: dict[str, str], pages: int) -> None:
    """HTML that was found, or that the browser still has."""
    assert len(answered(request(), headers, status)[0].messages) == pages


def test_an_answer_that_caches_share_never_carries_an_id() -> None:
    """All its readers would become one visitor; a visitor who has an id is still seen."""
    shared = {**HTML, "cache-control": "public, max-age=60"}
    client, cookie = answered(request(), shared)
    assert (client.messages, cookie) == ([], None)
    client, cookie = answered(request(cookie="ajs_anonymous_id=a"), shared)
    assert (len(client.messages), cookie) == (1, None)


@pytest.mark.parametrize(
    ("path", "options", "pages"),
    [
        ("/admin/x", {"exclude": ["/admin"]}, 0),
        ("/shop/1", {"exclude": ["/admin"]}, 1),
        ("/shop/1", {"include": ["/shop"]}, 1),
        ("/blog", {"include": ["/shop"]}, 0),
        ("/shop/print", {"include": ["/shop"], "exclude": [re.compile(r"/print$")]}, 0),
        ("/shop", {"page_views": False}, 0),
    ],
)
def test_paths_are_included_and_excluded(path: str, options: dict[str, Any], pages: int) -> None:
    """By prefix or pattern; the exclusion is the stronger one."""
    assert len(answered(request(path=path), **options)[0].messages) == pages


@pytest.mark.parametrize(
    ("options", "headers", "tracked"),
    [
        ({}, {"sec_gpc": "1", "dnt": "1"}, True),
        ({"respect_gpc": True}, {"sec_gpc": "1"}, False),
        ({"respect_dnt": True}, {"dnt": "1"}, False),
        ({"respect_dnt": True}, {"dnt": "0"}, True),
        ({"opt_out": "no_tracking"}, {"cookie": "no_tracking=1"}, False),
        ({"opt_out": "no_tracking"}, {"cookie": "no_tracking=false"}, True),
        ({"opt_out": "no_tracking"}, {}, True),
        ({"opt_out": lambda _: True}, {}, False),
    ],
)
def test_an_opt_out_is_respected(options: dict[str, Any], headers: dict[str, str], tracked: bool) -> None:
    """No page view, no cookie, and nothing about the visitor on the app's own calls."""
    client, cookie = answered(request(**headers), **options)
    assert bool(client.messages) == bool(cookie) == tracked
    with visit(request(**headers), **options)[1].bound():
        assert bool(current().context) == tracked


def test_without_a_cookie_there_is_no_made_up_visitor() -> None:
    """`set_cookie` may be a function, such as whether consent was given; a known user still has page views."""
    assert answered(request(), set_cookie=False)[0].messages == []
    assert answered(request(), set_cookie=lambda _: False)[0].messages == []
    client, cookie = answered(request(cookie="ajs_user_id=u"), set_cookie=False)
    assert client.messages[0]["userId"] == "u"
    assert "anonymousId" not in client.messages[0]
    assert cookie is None


@pytest.mark.parametrize(
    ("consent", "cookie", "expected"),
    [
        (lambda _: {"ads": False}, "", {"ads": False}),
        (lambda _: None, "", None),
        ("prefs", "prefs=%7B%22ads%22%3Atrue%2C%22x%22%3A1%7D", {"ads": True}),
        ("prefs", "prefs=broken", {}),
        ("prefs", "prefs=[1]", {}),
        ("prefs", "", {}),
    ],
)
def test_consent_goes_with_every_call(consent: Any, cookie: str, expected: dict[str, bool] | None) -> None:
    """A cookie that is not there, or cannot be read, allows nothing."""
    client, _ = answered(request(cookie=cookie), consent=consent)
    stamped = client.messages[0]["context"].get("consent")
    assert stamped == (None if expected is None else {"categoryPreferences": expected})


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "203.0.113.7", "10.0.0.9"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "1.1.1.1, 203.0.113.7", "203.0.113.7"),
        (2, "1.1.1.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (3, "203.0.113.7", "203.0.113.7"),
        (1, "203.0.113.7:4711", "203.0.113.7"),
        (1, "[2001:db8::1]:4711", "2001:db8::1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "", "10.0.0.9"),
        (1, " , ", "10.0.0.9"),
    ],
)
def test_the_address_is_what_trusted_proxies_say(proxies: int, forwarded: str, expected: str) -> None:
    """Entries that the visitor wrote, before those of our own proxies, are not believed."""
    client, _ = answered(request(x_forwarded_for=forwarded), trust_proxy=proxies)
    assert client.messages[0]["context"]["ip"] == expected


def test_a_proxys_host_and_scheme_count_where_it_is_trusted() -> None:
    """Otherwise a visitor could write them."""
    asked = request(x_forwarded_host="a.example, www.example", x_forwarded_proto="https")
    assert answered(asked)[0].messages[0]["properties"]["url"] == "http://shop.example/shoes"
    page = answered(asked, trust_proxy=1)[0].messages[0]["properties"]
    assert (page["url"], page["host"]) == ("https://www.example/shoes", "www.example")


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        (b"<TITLE lang=en> A &lt;b&gt; \n B</TITLE>", "", "A <b> B"),
        ("<title>Schöne Grüße</title>".encode(), "identity", "Schöne Grüße"),
        (b"<title></title>", "", None),
        (b"<html>", "", None),
        (b"<title>A</title>", "gzip", None),
        (b"<title>\xff</title>", "", "\ufffd"),
    ],
)
def test_the_title_is_read_from_the_beginning_of_the_page(
    body: bytes, encoding: str, expected: str | None
) -> None:
    """Where it is not compressed."""
    assert _page.title(body, encoding) == expected


@pytest.mark.parametrize("accepted", [None, "", "*", "x" * 5_000, "de", "de;q=0.5", "zh-Hant-TW, en"])
def test_a_language_is_the_first_accepted_one(accepted: str | None) -> None:
    """Or none at all."""
    expected = {"de": "de", "de;q=0.5": "de", "zh-Hant-TW, en": "zh-Hant-TW"}.get(accepted or "")
    assert _page.locale(accepted) == expected


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"exlude": ["/a"]}, TypeError, "exlude is no option; there are include, exclude, "),
        ({"exclude": "/a"}, TypeError, r"exclude is '/a'; pass a list, like \['/a'\]"),
        ({"trust_proxy": -1}, ValueError, "trust_proxy is -1; it must be the number"),
        ({"trust_proxy": True}, ValueError, "trust_proxy is True; it must be the number"),
    ],
)
def test_a_wrong_option_stops_the_app_at_its_start(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    """And not a request later; a bare path would exclude every path that begins with one of its letters."""
    with pytest.raises(error, match=said):
        Options.of(options)


def test_a_function_of_the_app_that_fails_costs_the_tracking_and_not_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And is told to the log; who could not be asked for consent is not tracked."""
    client, begun = visit(request(), consent=lambda _: 1 / 0)
    assert isinstance(begun, Nobody)
    assert begun.answer(200, lambda _: "text/html") is None
    begun.seen(b"")
    assert client.messages == []
    assert "served without tracking" in caplog.text


def test_a_client_that_fails_is_told_to_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is on its way already."""

    class Failing(Recorder):
        def page(self, *args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError

    begun = begin(Failing(), request, Options(), None)
    begun.answer(200, lambda name: HTML.get(name, ""))
    begun.seen(b"")
    assert "page view of /shoes was not sent" in caplog.text
