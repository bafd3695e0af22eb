"""What the SDK costs the page it is in, with collectors that are dead or silent: nothing that a visitor could feel."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.pages import Site, site
from tests.support.running import free_port
from tests.support.scripted_collector import Answer, ScriptedCollector, scripted_collector

pytestmark = pytest.mark.browser

# Long tasks are those above 50 ms. The first calls of a page are made while it loads.
WATCH = """<script>
window.long = []
new PerformanceObserver((list) => list.getEntries().forEach((task) => long.push(task.duration)))
  .observe({type: 'longtask', buffered: true})
</script>"""
BUTTON = "<button onclick=\"headwater.track('Clicked'); this.textContent = 'done'\">go</button>"
# Each call's time in ms; the median says what a call costs, whatever else this machine does.
CALLS = """() => {
  const times = []
  for (let n = 0; n < 500; n++) {
    const before = performance.now()
    headwater.track('Scrolled', {n, list: [1, 2, 3], deep: {a: {b: 'c'}}})
    times.push(performance.now() - before)
  }
  return times.sort((a, b) => a - b)[250]
}"""


@pytest.fixture
def collector() -> Iterator[ScriptedCollector]:
    """Serves the SDK; its answers are the test's."""
    with scripted_collector() as found:
        yield found


def visit(browser: Browser, pages: Site, collector: ScriptedCollector, host: str) -> Page:
    """A page that sends to `host` while it loads."""
    script = f'<script src="{collector.url}/headwater.js" data-write-key="wk" data-host="{host}"></script>'
    page = browser.new_context().new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page saw an error: {error}"))
    page.goto(pages.put("/", BUTTON + script + "<script>headwater.page()</script>", WATCH))
    return page


def measure(page: Page) -> dict[str, float]:
    """The median call, and the longest task after the page's own start."""
    page.evaluate("() => { long.length = 0 }")
    call = page.evaluate(CALLS)
    for _ in range(5):
        page.click("button")
        page.wait_for_function("() => document.querySelector('button').textContent === 'done'")
    page.wait_for_timeout(1500)
    return {
        "call": call,
        "load": page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart"),
    }


def check(page: Page, figures: dict[str, float]) -> None:
    """A call costs far less than a frame, and the page did not wait for the collector."""
    print(figures, page.evaluate("long"))
    assert figures["call"] < 1
    assert figures["load"] < 5000
    page.context.close()


def test_a_dead_collector_changes_nothing(browser: Browser, collector: ScriptedCollector) -> None:
    """Connections are refused: calls take microseconds, clicks work, nothing is thrown."""
    with site() as pages:
        page = visit(browser, pages, collector, f"http://127.0.0.1:{free_port()}")
        check(page, measure(page))


def test_a_silent_collector_changes_nothing(browser: Browser, collector: ScriptedCollector) -> None:
    """Requests hang: the page's load event does not wait for them, and calls cost the same."""
    never = threading.Event()
    collector.answer = lambda _: Answer(after=never)
    with site() as pages:
        page = visit(browser, pages, collector, collector.url)
        check(page, measure(page))
    assert collector.batches, "the SDK sent nothing, so that nothing was measured"
