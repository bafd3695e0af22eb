"""Stock @segment/analytics-next in a real browser: boots from our settings document, sends, survives offline and unload."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.running import Running, eventually

pytestmark = [pytest.mark.browser, pytest.mark.node]


@pytest.fixture
def tag() -> str:
    """An event name that no other test uses."""
    return f"B{uuid.uuid4().hex[:12]}"


def load(browser: Browser, site: str, headwater: Running, strategy: str = "") -> tuple[BrowserContext, Page]:
    """A page whose SDK loaded its settings from the collector (cdnURL) and sends to it."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(site)
    options = f"{{integrations: {{'Segment.io': {{deliveryStrategy: {strategy}}}}}}}" if strategy else "{}"
    page.evaluate(
        f"""async () => {{
            window.analytics = AnalyticsBrowser.load({{writeKey: 'wk_web', cdnURL: '{headwater.url}'}}, {options})
            await window.analytics.ready()
        }}"""
    )
    return context, page


def test_all_calls_arrive_with_page_context(
    browser: Browser, site: str, headwater: Running, tag: str
) -> None:
    """page, identify, track and group: ids, page context and the visitor's address are filled in."""
    context, page = load(browser, site, headwater)
    page.evaluate(
        f"""async () => {{
            await analytics.page('{tag}')
            await analytics.track('{tag}', {{total: 3}})
            await analytics.identify('user-{tag}', {{email: 'sam@example.com'}})
            await analytics.group('acc-{tag}', {{name: 'Acme'}})
        }}"""
    )
    headwater.wait_for(f"user_id = 'user-{tag}' AND type IN ('identify', 'group')", 2)
    headwater.wait_for(f"event_text = '{tag}'", 1)
    row = headwater.sql(
        f"SELECT context_page_url AS url, context_ip AS ip FROM headwater.events WHERE event_text = '{tag}'"
    )[0]
    assert row == {"url": site, "ip": "127.0.0.1"}
    context.close()


def test_batching_mode_flushes_when_the_page_goes_away(
    browser: Browser, site: str, headwater: Running, tag: str
) -> None:
    """Events still queued at unload leave with keepalive and arrive once."""
    strategy = "{strategy: 'batching', config: {size: 50, timeout: 60000}}"
    context, page = load(browser, site, headwater, strategy)
    page.evaluate(f"() => {{ for (let n = 0; n < 7; n += 1) analytics.track('{tag}', {{n}}) }}")
    page.wait_for_timeout(300)
    assert headwater.count(f"event_text = '{tag}'") == 0
    page.goto("about:blank")
    headwater.wait_for(f"event_text = '{tag}'", 7)
    context.close()


def test_events_made_offline_arrive_after_the_line_is_back(
    browser: Browser, site: str, headwater: Running, tag: str
) -> None:
    """The SDK's own queue keeps them; each arrives exactly once."""
    context, page = load(browser, site, headwater)
    context.set_offline(True)
    page.evaluate(f"() => {{ for (let n = 0; n < 5; n += 1) analytics.track('{tag}', {{n}}) }}")
    page.wait_for_timeout(500)
    context.set_offline(False)
    headwater.wait_for(f"event_text = '{tag}'", 5, seconds=40)
    context.close()


def test_a_restarted_collector_loses_no_browser_event(
    browser: Browser, site: str, headwater: Running, tag: str
) -> None:
    """SIGKILL of the collector between two events; the SDK retries what was not answered."""
    context, page = load(browser, site, headwater)
    page.evaluate(f"() => {{ analytics.track('{tag}', {{n: 0}}) }}")
    headwater.child("collector").kill()
    page.evaluate(f"() => {{ for (let n = 1; n < 4; n += 1) analytics.track('{tag}', {{n}}) }}")
    headwater.wait_for(f"event_text = '{tag}'", 4, seconds=40)
    context.close()


def test_the_webdriver_of_this_test_is_not_dropped(
    browser: Browser, site: str, headwater: Running, tag: str
) -> None:
    """By default bots are flagged, never dropped: a headless browser's events are still there, with a verdict."""
    context, page = load(browser, site, headwater)
    page.evaluate(f"() => analytics.track('{tag}')")
    eventually(lambda: headwater.count(f"event_text = '{tag}'") == 1, what="the event")
    row = headwater.sql(f"SELECT context_bot_is_bot AS bot FROM headwater.events WHERE event_text = '{tag}'")[
        0
    ]
    assert row["bot"] is True
    context.close()
