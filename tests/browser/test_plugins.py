"""The browser SDK's plug-ins in real Chromium, loaded from the collector, seen as rows of ClickHouse."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.pages import Site, site
from tests.support.running import Running

pytestmark = pytest.mark.browser

CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
STORED = "JSON.stringify([document.cookie, Object.keys(localStorage), Object.keys(sessionStorage)])"


@pytest.fixture(scope="module")
def pages() -> Iterator[Site]:
    """The site under measurement."""
    with site() as found:
        yield found


@pytest.fixture
def tag() -> str:
    """A text that no other test uses."""
    return f"p{uuid.uuid4().hex[:12]}"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor with an ordinary user agent."""
    found = browser.new_context(user_agent=CHROME)
    yield found
    found.close()


def script(headwater: Running, plugins: str = "", key: str = "wk_web") -> str:
    """The tag of the docs."""
    named = f' data-plugins="{plugins}"' if plugins else ""
    return f'<script src="{headwater.url}/sdk/v1/headwater.full.js" data-write-key="{key}"{named}></script>'


def visit(context: BrowserContext, address: str) -> Page:
    """A page whose scripts have run."""
    page = context.new_page()
    page.goto(address)
    return page


def rows(headwater: Running, where: str, number: int) -> list[dict[str, Any]]:
    """Exactly this many events in their order, with context and properties decoded."""
    headwater.wait_for(where, number)
    columns = (
        "type, name, event_text, context, toJSONString(properties) AS properties, context_bot_is_bot AS bot"
    )
    found = headwater.sql(
        f"SELECT {columns} FROM headwater.events WHERE {where} ORDER BY timestamp, message_id"
    )
    return [
        {**row, "context": json.loads(row["context"]), "properties": json.loads(row["properties"])}
        for row in found
    ]


def test_a_driven_browser_is_flagged_by_what_its_page_saw(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """The same browser with the same ordinary user agent: unseen without the plug-in, a bot with it."""
    for number, plugins in enumerate(("", "signals")):
        page = visit(context, pages.put("/signals", "", script(headwater, plugins)))
        page.evaluate(f"headwater.track('{tag}{number}')")
    (without,) = rows(headwater, f"event_text = '{tag}0'", 1)
    (seen,) = rows(headwater, f"event_text = '{tag}1'", 1)
    assert (without["bot"], seen["bot"]) == (None, True)
    assert seen["context"]["signals"]["webdriver"] is True
    assert seen["context"]["bot"]["class"] == "automation"
    assert "signals.webdriver" in seen["context"]["bot"]["reasons"]


def test_global_privacy_control_is_said_and_denies_advertising(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """A browser with the signal; the events carry it in the form that destinations filter by."""
    context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
    )
    page = visit(context, pages.put("/gpc", "", script(headwater, "attribution gpc")) + "?gclid=x")
    page.evaluate(f"headwater.track('{tag}')")
    (row,) = rows(headwater, f"event_text = '{tag}'", 1)
    assert row["context"]["globalPrivacyControl"] is True
    assert row["context"]["consent"] == {"categoryPreferences": {"advertising": False}}
    assert not {"clickIds", "attribution"} & set(row["context"])


def test_the_click_on_an_advertisement_is_known_on_later_pages(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """The id stands in the first page's address only; the event of the second page carries it, with both touches."""
    address = pages.put(f"/{tag}", "", script(headwater, "attribution"))
    page = visit(context, f"{address}?gclid={tag}&utm_campaign=spring")
    page.evaluate("headwater.page()")
    page.goto(address)
    page.evaluate(f"headwater.track('{tag}')")
    (row,) = rows(headwater, f"event_text = '{tag}'", 1)
    found = row["context"]
    assert found["clickIds"] == {"gclid": tag}
    assert found["attribution"]["first"] == found["attribution"]["last"]
    assert found["attribution"]["first"]["campaign"] == {"name": "spring"}
    assert "campaign" not in found


def test_nothing_is_sent_or_stored_before_the_visitor_has_answered(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """Events wait in memory, then carry the answer in their order; what the visitor is known by is written only then."""
    tagged = script(headwater).replace(' data-write-key="wk_web"', "")
    page = visit(context, pages.put("/consent", "", tagged))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.evaluate(
        f"""() => {{
            const {{consent, preferences}} = headwaterPlugins
            window.choice = preferences()
            window.headwater = headwater.load('wk_web', {{plugins: [consent({{source: choice, required: ['analytics']}})]}})
            headwater.track('{tag}', {{n: 0}})
            headwater.track('{tag}', {{n: 1}})
        }}"""
    )
    page.wait_for_timeout(800)  # longer than a queued event waits for company
    assert (sent, page.evaluate(STORED)) == ([], '["",[],[]]')
    page.evaluate("choice.set({analytics: true, advertising: false})")
    found = rows(headwater, f"event_text = '{tag}'", 2)
    assert [row["properties"]["n"] for row in found] == [0, 1]
    for row in found:
        assert row["context"]["consent"]["categoryPreferences"] == {"analytics": True, "advertising": False}
    assert "ajs_anonymous_id" in page.evaluate(STORED)


def test_a_visitor_who_declines_leaves_no_trace(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """Dropped and reported, not sent; nothing is written after the answer either."""
    tagged = script(headwater).replace(' data-write-key="wk_web"', "")
    page = visit(context, pages.put("/declined", "", tagged))
    outcome = page.evaluate(
        f"""async () => {{
            const choice = headwaterPlugins.preferences()
            const consent = headwaterPlugins.consent({{source: choice, required: ['analytics']}})
            window.headwater = headwater.load('wk_web', {{plugins: [consent]}})
            const waiting = headwater.track('{tag}')
            choice.set({{analytics: false}})
            const {{status, code}} = await waiting
            await headwater.track('{tag}')
            return [status, code, (await headwater.flush()).droppedCount]
        }}"""
    )
    assert outcome == ["dropped", "consent", 2]
    assert page.evaluate(STORED) == '["",[],[]]'


@pytest.mark.parametrize("locks", [True, False])
def test_a_cookieless_page_leaves_nothing_on_the_device(
    context: BrowserContext, pages: Site, headwater: Running, tag: str, *, locks: bool
) -> None:
    """Events go with an id that lasts as long as the page; storage stays empty, also where no Web Locks are (plain http)."""
    if not locks:
        context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', {get: () => undefined})")
    address = pages.put("/cookieless", "", script(headwater, "cookieless"))
    for _ in range(2):
        page = visit(context, address)
        page.evaluate(
            f"(async () => {{ await headwater.identify('u-{tag}'); await headwater.track('{tag}') }})()"
        )
        assert page.evaluate(STORED) == '["",[],[]]'
    headwater.wait_for(f"event_text = '{tag}'", 2)
    found = headwater.sql(
        f"SELECT uniqExact(anonymous_id) AS n FROM headwater.events WHERE event_text = '{tag}'"
    )
    assert int(found[0]["n"]) == 2


def test_navigation_in_a_single_page_app_is_one_page_view_each(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """A redirect counts once, a change of state not at all, the way back does; each knows where it came from."""
    page = visit(context, pages.put("/app", "", script(headwater, "spa")))
    steps = [
        f"history.pushState({{}}, '', '/app/{tag}/a')",
        "history.replaceState({open: true}, '')",
        f"history.pushState({{}}, '', '/app/{tag}/old'); history.replaceState({{}}, '', '/app/{tag}/b?q=1')",
        "history.pushState({}, '', '#part')",
        "history.go(-2)",
    ]
    for number, step in enumerate(steps):
        page.evaluate(step)
        if number == len(steps) - 1:
            page.wait_for_url(f"**/{tag}/a")
        page.evaluate(
            "new Promise((resolve) => setTimeout(resolve, 5))"
        )  # another millisecond: rows are ordered by time
    found = rows(headwater, f"type = 'page' AND context_page_path LIKE '/app/{tag}/%'", 3)
    assert [row["properties"]["path"].rpartition("/")[2] for row in found] == ["a", "b", "a"]
    assert [row["properties"]["referrer"].rpartition("/")[2] for row in found] == ["app", "a", "b?q=1"]


def test_clicks_and_submissions_arrive_although_the_page_goes_away(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """Which link and which form, never what was typed; the navigation is not held up, an ignored part is not seen."""
    body = f"""
      <a id="{tag}" href="/next?token=secret"><b>Go   on</b></a>
      <form id="{tag}" action="/done" method="post"><input name="id" value="typed"><select></select><button>Send</button></form>
      <p data-headwater-ignore><a id="{tag}-not" href="#">no</a></p>"""
    address = pages.put("/forms", body, script(headwater, "links forms"))
    page = visit(context, address)
    page.click(f"#{tag}-not")
    page.click(f"a#{tag} b")
    page.wait_for_url("**/next?token=secret")
    page.goto(address)
    with page.expect_navigation():
        page.click("button")
    clicked, submitted = rows(headwater, f"properties.id = '{tag}'", 2)
    assert (clicked["event_text"], clicked["properties"]) == (
        "Link Clicked",
        {"href": f"{pages.url}/next", "id": tag, "outbound": False, "text": "Go on"},
    )
    assert (submitted["event_text"], submitted["properties"]) == (
        "Form Submitted",
        {"action": f"{pages.url}/done", "fields": 2, "id": tag, "method": "post"},
    )


def test_web_vitals_are_one_event_when_the_page_is_left(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """Paint times, a layout shift that happened, an interaction that took its time; once."""
    body = """<h1>Shop</h1><button onclick="const t = performance.now(); while (performance.now() - t < 120) {}">slow</button>
      <div id="late"></div><p>pushed down</p>"""
    page = visit(context, pages.put(f"/{tag}", body, script(headwater, "vitals")))
    page.click("button")
    page.wait_for_timeout(700)  # a shift within 500 ms of an input is the visitor's own
    shifted = """new Promise((resolve) => {
        new PerformanceObserver(resolve).observe({type: 'layout-shift'})
        document.getElementById('late').style.height = '300px'
    })"""
    page.evaluate(shifted)
    page.goto("about:blank")
    (row,) = rows(headwater, f"event_text = 'Web Vitals Measured' AND context_page_path = '/{tag}'", 1)
    found = row["properties"]
    assert found["inp"] >= 120
    assert 0 < found["cls"] < 1
    assert 0 < found["fcp"] <= found["lcp"]
    assert 0 <= found["ttfb"] < found["fcp"]
    assert found["navigation_type"] == "navigate"


def test_visits_are_numbered_over_reloads(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """The second page view belongs to the first one's visit; the visit that a campaign begins is the next."""
    address = pages.put("/visits", "", script(headwater, "sessions"))
    for search in ("", "", "?utm_source=news"):
        page = visit(context, address + search)
        page.evaluate(f"headwater.track('{tag}')")
    found = [row["context"] for row in rows(headwater, f"event_text = '{tag}'", 3)]
    assert [(one["sessionNumber"], one.get("sessionStart", False)) for one in found] == [
        (1, True),
        (1, False),
        (2, True),
    ]
    assert found[0]["sessionId"] == found[1]["sessionId"] < found[2]["sessionId"]


def test_an_undriven_browser_is_no_bot(browser: Browser, pages: Site, headwater: Running, tag: str) -> None:
    """Chromium without the mark of automation: what a machine without screen and sound shows is noted at most."""
    path = shutil.which("chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-blink-features=AutomationControlled"]
    plain = browser.browser_type.launch(executable_path=path, args=flags)
    try:
        page = visit(
            plain.new_context(user_agent=CHROME), pages.put("/plain", "", script(headwater, "signals"))
        )
        page.evaluate(f"headwater.track('{tag}')")
        (row,) = rows(headwater, f"event_text = '{tag}'", 1)
    finally:
        plain.close()
    assert row["context"]["signals"]["v"] == 1
    assert "webdriver" not in row["context"]["signals"]
    assert row["bot"] is not True
