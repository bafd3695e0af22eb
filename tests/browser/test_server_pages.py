"""A visitor whom the Python middleware saw first is the same one to the browser SDKs, and the other way round."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from playwright.sync_api import Browser, BrowserContext

from headwater_sdk import Client
from headwater_sdk.middleware.wsgi import HeadwaterMiddleware
from tests.support.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.node]


@pytest.fixture
def tag() -> str:
    """A path that no other test uses."""
    return f"p{uuid.uuid4().hex[:12]}"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new visitor."""
    found = browser.new_context()
    yield found
    found.close()


class Quiet(WSGIRequestHandler):
    """Serves without writing a line for each request."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def shop(headwater: Running) -> Iterator[str]:
    """The address of a WSGI application with the middleware, whose pages carry Headwater's browser SDK."""
    tag = f'<script async src="{headwater.url}/sdk/v1/headwater.js" data-write-key="wk_web"></script>'
    body = f'<!doctype html><title>Shop</title><link rel="icon" href="data:,">{tag}'.encode()

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [body]

    with Client("wk_api", headwater.url) as client:
        wrapped = HeadwaterMiddleware(app, client)
        with make_server("127.0.0.1", 0, wrapped, handler_class=Quiet) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()
            thread.join(5)


def test_the_browser_sdk_goes_on_with_the_servers_visitor(
    context: BrowserContext, shop: str, headwater: Running, tag: str
) -> None:
    """Both sources' page views, of a fresh visitor, join on the anonymous id; the address and the title are the same."""
    page = context.new_page()
    page.goto(f"{shop}{tag}?utm_source=news")
    page.wait_for_function("window.headwater && headwater.track")
    page.evaluate("headwater.page()")
    headwater.wait_for(
        f"context_page_path = '/{tag}' AND type = 'page' AND context_library_name = 'headwater-python'", 1
    )
    headwater.wait_for(
        f"context_page_path = '/{tag}' AND type = 'page' AND context_library_name = 'headwater-browser'", 1
    )
    rows = headwater.sql(
        "SELECT anonymous_id, context_page_url AS url, context_campaign_source AS source, context_ip AS ip "
        f"FROM headwater.events WHERE context_page_path = '/{tag}' AND type = 'page'"
    )
    assert rows[0] == rows[1]
    assert rows[0]["source"] == "news"
    assert rows[0]["ip"] == "127.0.0.1"


def test_analytics_next_goes_on_with_the_servers_visitor_and_the_server_with_its(
    context: BrowserContext, shop: str, site: str, headwater: Running, tag: str
) -> None:
    """Segment's own SDK keeps the id that the server gave; after its identify the server knows the user."""
    page = context.new_page()
    page.goto(shop)
    given = {cookie["name"]: cookie["value"] for cookie in context.cookies()}["ajs_anonymous_id"]
    page.goto(site)
    found = page.evaluate(
        f"""async () => {{
            const [analytics] = await AnalyticsBrowser.load({{writeKey: 'wk_web', cdnURL: '{headwater.url}'}})
            await analytics.identify('user-{tag}')
            return analytics.user().anonymousId()
        }}"""
    )
    assert found == given
    page.goto(f"{shop}{tag}")
    headwater.wait_for(
        f"context_page_path = '/{tag}' AND type = 'page' AND user_id = 'user-{tag}' AND anonymous_id = '{given}'",
        1,
    )


def test_the_server_goes_on_with_the_visitor_that_analytics_next_knows(
    context: BrowserContext, shop: str, site: str, headwater: Running, tag: str
) -> None:
    """Whoever came to the browser SDK first keeps that id on the server's pages."""
    page = context.new_page()
    page.goto(site)
    known = page.evaluate(
        f"""async () => {{
            const [analytics] = await AnalyticsBrowser.load({{writeKey: 'wk_web', cdnURL: '{headwater.url}'}})
            return analytics.user().anonymousId()
        }}"""
    )
    page.goto(f"{shop}{tag}")
    headwater.wait_for(f"context_page_path = '/{tag}' AND type = 'page' AND anonymous_id = '{known}'", 1)
