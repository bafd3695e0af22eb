"""Moving a site from analytics-next and back: both read the ids and traits that the other one stored."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.node]

WHO = """() => [analytics.user().id(), analytics.user().anonymousId(), analytics.user().traits(),
    analytics.group().id(), analytics.group().traits()]"""
# An id and traits with characters that cookies and JSON each treat in their own way.
USER = "ada+shop@example.com; 100%"
TRAITS = {"name": 'Ada "A" Łovelace', "plan": "pro", "seats": 3}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new visitor."""
    found = browser.new_context()
    yield found
    found.close()


def ours(context: BrowserContext, site: str, headwater: Running) -> Page:
    """A page of the site with Headwater's SDK as `analytics`, from the collector."""
    page = context.new_page()
    page.goto(site)
    page.add_script_tag(url=f"{headwater.url}/sdk/v1/headwater.js")
    page.evaluate("() => { window.analytics = headwater.load('wk_web') }")
    return page


def theirs(context: BrowserContext, site: str, headwater: Running) -> Page:
    """A page of the same site with stock analytics-next."""
    page = context.new_page()
    page.goto(site)
    page.evaluate(
        f"""async () => {{
            const loaded = AnalyticsBrowser.load({{writeKey: 'wk_web', cdnURL: '{headwater.url}'}})
            window.analytics = (await loaded)[0]
        }}"""
    )
    return page


def name(page: Page) -> list[Any]:
    """Identify and group, then what the SDK knows."""
    page.evaluate(
        "([user, traits]) => Promise.all([analytics.identify(user, traits), analytics.group('acme', {size: 7})])",
        [USER, TRAITS],
    )
    return list(page.evaluate(WHO))


def test_a_visitor_of_analytics_next_is_known(context: BrowserContext, site: str, headwater: Running) -> None:
    """Same user, anonymous id, traits and group on the first page with the new SDK."""
    known = name(theirs(context, site, headwater))
    assert known[0] == USER
    assert ours(context, site, headwater).evaluate(WHO) == known


def test_analytics_next_knows_a_visitor_of_ours(
    context: BrowserContext, site: str, headwater: Running
) -> None:
    """The way back is open."""
    known = name(ours(context, site, headwater))
    assert known[0] == USER
    assert theirs(context, site, headwater).evaluate(WHO) == known


def test_cookies_alone_are_enough(context: BrowserContext, site: str, headwater: Running) -> None:
    """Another subdomain shares the cookies and not localStorage."""
    known = name(theirs(context, site, headwater))
    page = ours(context, site, headwater)
    page.evaluate("localStorage.clear()")
    assert page.evaluate(WHO)[:2] == known[:2]


def test_the_same_calls_give_the_same_rows(context: BrowserContext, site: str, headwater: Running) -> None:
    """One script of calls through both SDKs: ClickHouse has the same ids, names, properties and page."""
    rows = []
    for load in (theirs, ours):
        tag = f"m{uuid.uuid4().hex[:12]}"
        page = load(context, site, headwater)
        page.evaluate(
            """async (tag) => {
                analytics.reset()
                analytics.setAnonymousId('anon-' + tag)
                await analytics.page('Docs', 'Home', {theme: 'dark'})
                await analytics.identify('user-' + tag, {plan: 'pro'})
                await analytics.track('Order Completed', {total: 3.5}, {context: {active: true}})
                await analytics.group('acc-' + tag, {name: 'Acme'})
            }""",
            tag,
        )
        where = f"anonymous_id = 'anon-{tag}'"
        headwater.wait_for(where, 4)
        columns = "type, event_text, user_id, group_id, context_page_url, context_page_title, context_locale"
        found = headwater.sql(f"SELECT {columns} FROM headwater.events WHERE {where} ORDER BY type")
        rows.append([{key: str(value).replace(tag, "TAG") for key, value in row.items()} for row in found])
    assert rows[0] == rows[1]
