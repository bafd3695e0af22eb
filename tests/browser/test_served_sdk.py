"""The SDK as pages load it from the collector: the tags of the docs, a pinned one, and Segment's snippet with another host."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.pages import Site, site
from tests.support.running import Running

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[2] / "docs" / "developer"
# As Segment's docs print it (version 5.2.0), with HOST in the place of cdn.segment.com.
SNIPPET = """<script>
!function(){var i="analytics",analytics=window[i]=window[i]||[];if(!analytics.initialize)if(analytics.invoked)window.console&&
console.error&&console.error("Segment snippet included twice.");else{analytics.invoked=!0;analytics.methods=["trackSubmit",
"trackClick","trackLink","trackForm","pageview","identify","reset","group","track","ready","alias","debug","page","screen","once",
"off","on","addSourceMiddleware","addIntegrationMiddleware","setAnonymousId","addDestinationMiddleware","register"];
analytics.factory=function(e){return function(){if(window[i].initialized)return window[i][e].apply(window[i],arguments);
var n=Array.prototype.slice.call(arguments);if(["track","screen","alias","group","page","identify"].indexOf(e)>-1){
var c=document.querySelector("link[rel='canonical']");n.push({__t:"bpc",c:c&&c.getAttribute("href")||void 0,p:location.pathname,
u:location.href,s:location.search,t:document.title,r:document.referrer})}n.unshift(e);analytics.push(n);return analytics}};
for(var n=0;n<analytics.methods.length;n++){var key=analytics.methods[n];analytics[key]=analytics.factory(key)}
analytics.load=function(key,n){var t=document.createElement("script");t.type="text/javascript";t.async=!0;
t.setAttribute("data-global-segment-analytics-key",i);t.src="HOST/analytics.js/v1/" + key + "/analytics.min.js";
var r=document.getElementsByTagName("script")[0];r.parentNode.insertBefore(t,r);analytics._loadOptions=n};
analytics._writeKey="wk_web";analytics.SNIPPET_VERSION="5.2.0";
analytics.load("wk_web");
analytics.page();
analytics.identify("u-TAG", {plan: "team"});
analytics.track("TAG", {n: 1});
}}();
</script>"""


@pytest.fixture(scope="module")
def pages() -> Iterator[Site]:
    """The site that carries the tags."""
    with site() as found:
        yield found


@pytest.fixture
def tag() -> str:
    """An event name that no other test uses."""
    return f"s{uuid.uuid4().hex[:12]}"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new visitor."""
    found = browser.new_context()
    yield found
    found.close()


def blocks(page: str) -> list[str]:
    """The tags that a page of the docs prints."""
    return re.findall(r"^```html\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def works(context: BrowserContext, address: str, headwater: Running, tag: str) -> Page:
    """The page, once an event of it has arrived."""
    page = context.new_page()
    page.goto(address)
    page.wait_for_function("window.headwater && headwater.track")
    page.evaluate(f"headwater.track('{tag}')")
    headwater.wait_for(f"event_text = '{tag}'", 1)
    return page


@pytest.mark.parametrize(
    ("name", "number"), [("serve-the-sdk.md", 0), ("serve-the-sdk.md", 1), ("browser-plugins.md", 0)]
)
def test_the_tags_of_the_docs_load_and_send(
    context: BrowserContext, pages: Site, headwater: Running, tag: str, name: str, number: int
) -> None:
    """As printed, with this server's address and the hash that it tells; `unsafe-inline` is not needed."""
    with urllib.request.urlopen(f"{headwater.url}/sdk/v1/integrity.json", timeout=10) as answer:
        pinned = json.loads(answer.read())["scripts"]["headwater.js"]["integrity"]
    text = blocks(name)[number].replace("http://localhost:8080", headwater.url).replace("INTEGRITY", pinned)
    policy = f"script-src {headwater.url}; connect-src {headwater.url}"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">{text}'
    # Playwright's own evaluate is not subject to the policy, a page's inline script would be.
    works(context, pages.put(f"/{tag}", "", head), headwater, tag)


def test_a_script_that_is_not_the_pinned_one_does_not_run(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """The hash of another file: the browser refuses, and says so."""
    wrong = f"sha384-{'A' * 64}"
    text = (
        blocks("serve-the-sdk.md")[1]
        .replace("http://localhost:8080", headwater.url)
        .replace("INTEGRITY", wrong)
    )
    page = context.new_page()
    with page.expect_console_message(lambda message: "integrity" in message.text):
        page.goto(pages.put(f"/{tag}", "", text))
    assert page.evaluate("typeof headwater") == "undefined"


def test_a_plugin_that_does_not_exist_is_named_and_the_rest_works(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """A mistake in the tag is told to its developer in the console, and costs no event."""
    text = blocks("browser-plugins.md")[0].replace("http://localhost:8080", headwater.url)
    address = pages.put(f"/{tag}", "", text.replace('"signals sessions', '"session'))
    said: list[str] = []
    context.on("console", lambda message: said.append(message.text))
    works(context, address, headwater, tag)
    assert len(said) == 1
    assert said[0].startswith("headwater: data-plugins names session; there are signals, sessions, ")


def test_segments_snippet_needs_another_host_only(
    context: BrowserContext, pages: Site, headwater: Running, tag: str
) -> None:
    """The calls that its stub noted are made in order, of one visitor; `analytics` is the SDK afterwards."""
    snippet = SNIPPET.replace("HOST", headwater.url).replace("TAG", tag)
    page = context.new_page()
    page.goto(pages.put(f"/{tag}", "", snippet))
    headwater.wait_for(f"context_page_path = '/{tag}'", 3)
    found = headwater.sql(
        "SELECT type, user_id, anonymous_id, context_library_name AS library FROM headwater.events "
        f"WHERE context_page_path = '/{tag}' ORDER BY message_id"
    )
    assert [(row["type"], row["user_id"]) for row in found] == [
        ("page", None),
        ("identify", f"u-{tag}"),
        ("track", f"u-{tag}"),
    ]
    assert {row["library"] for row in found} == {"headwater-browser"}
    assert {row["anonymous_id"] for row in found} == {page.evaluate("analytics.user().anonymousId()")}


def test_segments_snippet_has_all_its_methods(
    context: BrowserContext, pages: Site, headwater: Running
) -> None:
    """Links followed before and after the script is there count, no method is missing, and a second snippet changes nothing."""
    snippet = SNIPPET.replace("HOST", headwater.url).replace("TAG", "methods")
    body = (
        "<a id=early href='#early'>early</a><a id=late href='#late'>late</a>"
        "<script>analytics.trackLink(document.getElementById('early'), 'Early Link', {n: 1})</script>"
    )
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(pages.put("/methods", body, snippet))
    page.wait_for_function("!Array.isArray(window.analytics) && analytics.initialized")
    page.evaluate(
        "[...document.scripts].filter(one => /Segment snippet/.test(one.text)).forEach(one => eval(one.text))"
    )
    page.evaluate(
        "analytics.trackLink(document.getElementById('late'), 'Late Link'); analytics.pageview();"
        "analytics.addDestinationMiddleware('x', () => {}); analytics.trackForm([], 'None')"
    )
    page.click("#early")
    page.click("#late")
    for name in ("Early Link", "Late Link"):
        headwater.wait_for(f"event_text = '{name}' AND context_page_path = '/methods'", 1)
    assert failures == []
