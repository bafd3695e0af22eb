"""The browser SDK in real Chromium against a collector that fails on purpose: what is sent, how often, and by which page."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.conftest import FLAGS
from tests.support.pages import Site, site
from tests.support.running import eventually
from tests.support.scripted_collector import Answer, ScriptedCollector, scripted_collector

pytestmark = pytest.mark.browser

README = Path(__file__).parents[2] / "sdk" / "javascript" / "packages" / "browser" / "README.md"
KEPT = "Object.keys(localStorage).filter((key) => key.length > 60).length"


@pytest.fixture(scope="module")
def pages() -> Iterator[Site]:
    """The visited site."""
    with site() as found:
        yield found


@pytest.fixture
def collector() -> Iterator[ScriptedCollector]:
    """Answers 200 until a test says otherwise."""
    with scripted_collector() as found:
        yield found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new visitor."""
    found = browser.new_context()
    yield found
    found.close()


def visit(context: BrowserContext, address: str) -> Page:
    """A page whose scripts have run; errors of the page fail the test."""
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page saw an error: {error}"))
    page.goto(address)
    return page


def track(page: Page, prefix: str, number: int) -> None:
    """Events PREFIX0, PREFIX1, ..."""
    page.evaluate(f"() => {{ for (let n = 0; n < {number}; n++) headwater.track('{prefix}' + n) }}")


def names(prefix: str, number: int) -> list[str]:
    """What `track` sends."""
    return [f"{prefix}{n}" for n in range(number)]


def test_a_call_just_before_the_page_goes_away_arrives(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """The click that leaves the page is the one that counts; keepalive takes it along."""
    page = visit(context, pages.put("/leave", "<a href='/elsewhere'>go</a>", collector.tag()))
    page.evaluate("document.querySelector('a').addEventListener('click', () => { headwater.track('left') })")
    page.click("a")
    page.wait_for_url("**/elsewhere")
    eventually(lambda: collector.events() == ["left"], what="the event of a page that is gone")


def test_the_snippet_of_the_readme_replays_early_calls_in_order(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """Calls before the script has loaded, and through a kept reference to the stub afterwards."""
    snippet = README.read_text().split("```html\n")[1].split("```")[0]
    early = (
        "<script>window.kept = headwater; headwater.identify('u1'); headwater.track('early', {n: 1})</script>"
    )
    html = snippet.replace("https://collect.example.com/sdk/v1", collector.url)
    page = visit(context, pages.put("/snippet", "", html + early))
    page.wait_for_function("() => headwater.user")
    page.evaluate("() => { kept.track('late') }")
    eventually(lambda: collector.events() == ["early", "late"], what="the calls of the snippet")
    assert [message["type"] for message in collector.messages()] == ["page", "identify", "track", "track"]


def test_what_keepalive_does_not_take_is_sent_by_the_next_page(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """100 KB are more than the 64 KiB of keepalive: the rest waits in storage for the next page."""
    address = pages.put("/much", "", collector.tag())
    page = visit(context, address)
    page.evaluate(
        "() => { for (let n = 0; n < 100; n++) headwater.track('e' + n, {text: 'x'.repeat(1000)}) ; location = '/elsewhere' }"
    )
    page.wait_for_url("**/elsewhere")
    page.goto(address)
    eventually(lambda: sorted(set(collector.events())) == sorted(names("e", 100)), what="all events")
    eventually(lambda: page.evaluate(KEPT) == 0, what="an empty storage")
    assert page.evaluate("headwater.flush().then((report) => report.queued)") == 0


def test_two_tabs_offline_and_back_send_each_event_once(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """Each tab keeps its own events while there is no network, and sends them when it is back."""
    address = pages.put("/tabs", "", collector.tag())
    tabs = [visit(context, address), visit(context, address)]
    context.set_offline(True)
    for number, tab in enumerate(tabs):
        track(tab, f"tab{number}-", 5)
        tab.wait_for_function(f"() => {KEPT} >= 5")
    assert collector.events() == []
    context.set_offline(False)
    eventually(lambda: len(collector.events()) >= 10, what="the events of both tabs")
    for tab in tabs:
        assert tab.evaluate("headwater.flush().then((report) => report.queued)") == 0
    assert sorted(collector.events()) == names("tab0-", 5) + names("tab1-", 5)


def test_a_closed_tabs_events_are_taken_over_once(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """Two tabs stay, one is closed with unsent events: one of the two sends them."""
    address = pages.put("/closed", "", collector.tag())
    stay, also, closed = (visit(context, address) for _ in range(3))
    context.set_offline(True)
    # closing ends the emulation a moment before the page, which could still send and not hear the answer
    closed.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('no network')) }")
    track(closed, "orphan", 5)
    closed.wait_for_function(f"() => {KEPT} === 5")
    closed.close()
    context.set_offline(False)
    eventually(lambda: len(collector.events()) >= 5, what="the closed tab's events")
    for tab in (stay, also):
        assert tab.evaluate("headwater.flush().then((report) => report.queued)") == 0
    assert collector.events() == names("orphan", 5)


def test_a_reload_in_the_middle_of_a_retry_keeps_the_message_id(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """The server is busy, the visitor reloads, the new page sends the same message and nobody sends it again."""
    collector.answer = lambda _: Answer(503)
    page = visit(context, pages.put("/reload", "", collector.tag()))
    track(page, "e", 1)
    eventually(collector.events, what="the first attempt")
    page.wait_for_function(f"() => {KEPT} === 1")
    collector.answer = lambda _: Answer(200)
    page.reload()
    eventually(lambda: page.evaluate(KEPT) == 0, what="the event delivered")
    assert set(collector.events()) == {"e0"}
    assert len({message["messageId"] for message in collector.messages()}) == 1


def test_a_pause_that_the_server_asked_for_holds_over_a_reload(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """429 with Retry-After: 60 is not undone by a new page."""
    collector.answer = lambda _: Answer(429, {"Retry-After": "60"})
    page = visit(context, pages.put("/pause", "", collector.tag()))
    track(page, "e", 1)
    eventually(collector.events, what="the first attempt")
    page.wait_for_function("() => Object.keys(localStorage).includes('hw:wk:')")
    page.reload()
    assert page.evaluate("headwater.flush(1500).then((report) => report.queued)") >= 0
    assert collector.events() == ["e0"]


def test_a_page_from_the_back_forward_cache_goes_on_and_sends_nothing_twice(
    pages: Site, collector: ScriptedCollector, caching: Browser
) -> None:
    """What the page left in storage was sent by the page in between; the restored one knows, and works."""
    context = caching.new_context()
    address = pages.put("/cached", "", collector.tag())
    page = visit(context, address)
    page.evaluate(
        "() => { window.same = true; addEventListener('pageshow', (e) => { window.back = e.persisted }) }"
    )
    collector.answer = lambda _: Answer(503)
    track(page, "before", 3)
    eventually(collector.events, what="a first attempt")
    page.goto(pages.put("/between", "", collector.tag()))
    collector.answer = lambda _: Answer(200)
    eventually(lambda: page.evaluate(KEPT) == 0, what="the page in between sent them")
    before = len(collector.events())
    page.evaluate("() => { history.back() }")  # go_back() waits for a load that a restored page does not have
    page.wait_for_function("() => window.same && window.back")
    track(page, "after", 2)
    assert page.evaluate("headwater.flush().then((report) => report.queued)") == 0
    assert page.evaluate(KEPT) == 0
    assert collector.events()[before:] == names("after", 2)
    context.close()


@pytest.fixture
def caching(browser: Browser) -> Iterator[Browser]:
    """Chromium with its back/forward cache, which Playwright switches off."""
    found = browser.browser_type.launch(
        executable_path=shutil.which("chromium"),
        args=FLAGS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield found
    found.close()


def test_a_sandboxed_frame_without_storage_or_cookies_sends(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """Everything throws there: the events live in memory, and one id holds while the frame lives."""
    pages.put("/framed", "", collector.tag())
    page = visit(context, pages.put("/frame", "<iframe sandbox='allow-scripts' src='/framed'></iframe>"))
    frame = page.frames[1]
    frame.wait_for_function("() => window.headwater && headwater.track")
    frame.evaluate("headwater.identify('u1', {plan: 'pro'})")
    outcome = frame.evaluate("headwater.track('from a frame').then((outcome) => outcome.status)")
    assert outcome == "delivered"
    assert {message["userId"] for message in collector.messages()} == {"u1"}
    assert len({message["anonymousId"] for message in collector.messages()}) == 1


def test_a_strict_content_security_policy_needs_no_exception(
    context: BrowserContext, pages: Site, collector: ScriptedCollector
) -> None:
    """No inline script, no eval: the tag's attributes are enough, and the browser has nothing to complain about."""
    policy = f"default-src 'none'; script-src {collector.url}; connect-src {collector.url}"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">{collector.tag()}'
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(pages.put("/strict", "", head))
    assert page.evaluate("headwater.track('strict').then((outcome) => outcome.status)") == "delivered"
    assert [
        text for text in complaints if "Security" in text and "icon" not in text and "data:" not in text
    ] == []


def test_a_page_that_is_prerendered_counts_when_it_is_shown(
    pages: Site, collector: ScriptedCollector, tmp_path: Path
) -> None:
    """Nothing leaves before activation. Chromium runs undriven here: it does not prerender under DevTools, which Playwright uses."""
    script = "<script>headwater.page('next', {early: document.prerendering})</script>"
    pages.put("/next", "", collector.tag() + script)
    rules = '{"prerender": [{"source": "list", "urls": ["/next"], "eagerness": "immediate"}]}'
    visit_next = "<script>setTimeout(() => { location.href = '/next' }, 3000)</script>"
    first = pages.put("/first", visit_next, f'<script type="speculationrules">{rules}</script>')
    chromium = shutil.which("chromium")
    assert chromium
    command = [chromium, "--headless=new", *FLAGS, f"--user-data-dir={tmp_path}", first]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: collector.batches, what="the page event")
    finally:
        process.terminate()
        process.wait(10)
    (message,) = collector.messages()
    assert message["properties"]["early"] is True
    assert collector.sent_at[0] - datetime.fromisoformat(message["timestamp"]) > timedelta(seconds=1)
