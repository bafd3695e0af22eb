"""Tabs of one visitor in Chromium: one stays, one is reloaded while events are under way, one is closed with events unsent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import BrowserContext, Page, sync_playwright

from collector import browser as served
from tests.soak.programs import Sent, is_fine
from tests.support.pages import Site, site

PATIENCE_MS = 120_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
MOST_AT_RISK = 100  # events of the request whose answer nobody hears, as its page has gone
PROGRAM = """
window.sdk = headwater.load('wk_web', {host: 'HOST', timeout: 2000, flushAt: SIZE})
window.make = async (event, first, count) => {
  let open = 0
  for (let n = first; n < first + count; n += 1) {
    const note = n % 100 === 50 ? 'x'.repeat(40000) : 'ä€😀'.repeat(20)
    const name = n % 100 === 75 ? event + 'x'.repeat(1100) : event
    open += 1
    sdk.track(name, {n, plan: 'team', note}).then(() => { open -= 1 })
    while (open > 400 || (n % 20 === 0 && open > 200)) await new Promise((go) => setTimeout(go, 10))
  }
}
"""


@contextmanager
def chromium() -> Iterator[BrowserContext]:
    """One visitor's browser."""
    path = shutil.which("chromium")
    assert path, "chromium is missing: apt-get install chromium (make test does it)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        context = browser.new_context()
        context.set_default_timeout(PATIENCE_MS)
        try:
            yield context
        finally:
            browser.close()


class Tabs:
    """What the visitor's tabs call, and what their reports add up to."""

    def __init__(self, context: BrowserContext, pages: Site, host: str, event: str, size: int) -> None:
        self._context, self._event = context, event
        self._called = 0
        self._counts = {"called": 0, "delivered": 0, "rejected": 0, "dropped": 0, "queued": 0}
        pages.pages["/headwater.js"] = script()
        pages.pages["/program.js"] = PROGRAM.replace("HOST", host).replace("SIZE", str(size))
        scripts = "<script src='/headwater.js'></script><script src='/program.js'></script>"
        self._address = pages.put("/", scripts)

    def open(self) -> Page:
        """Open a tab."""
        page = self._context.new_page()
        page.goto(self._address)
        return page

    def make(self, page: Page, count: int) -> None:
        """Call so many times; returns when the last call was made, not when it is delivered."""
        page.evaluate(
            "([event, first, count]) => make(event, first, count)", [self._event, self._called, count]
        )
        self._called += count

    def note(self, page: Page, wait_ms: int) -> int:
        """Add the tab's report; how many events it still holds."""
        report: dict[str, Any] = page.evaluate("(ms) => sdk.flush(ms)", wait_ms)
        for name, key in (
            ("delivered", "delivered"),
            ("rejected", "rejectedCount"),
            ("dropped", "droppedCount"),
        ):
            self._counts[name] += report[key]
        return int(report["queued"])

    def sent(self) -> Sent:
        """All calls; each must be in the table but those that were reported as refused."""
        self._counts["called"] = self._called
        numbers = range(self._called)
        return Sent("browser", self._event, numbers, self._counts, {n for n in numbers if is_fine(n)})


def browse(host: str, event: str, size: int, count: int) -> Sent:
    """Three tabs, a quarter of the calls in each and in the one that is opened last."""
    with site() as pages, chromium() as context:
        tabs = Tabs(context, pages, host, event, size)
        stays, reloaded, closed = (tabs.open() for _ in range(3))
        for page in (stays, reloaded, closed):
            tabs.make(page, count // 4)
        tabs.note(reloaded, 0)
        reloaded.reload()
        tabs.note(closed, 0)
        closed.goto("about:blank")
        closed.close()
        last = tabs.open()
        tabs.make(last, count - 3 * (count // 4))
        left = sum(tabs.note(page, PATIENCE_MS) for page in (last, reloaded, stays))
        sent = tabs.sent()
        sent.counts["queued"] = left
        return sent


def script() -> str:
    """The script that the collector serves."""
    release = served.release("v1")
    assert release is not None
    return served.assets(release)["headwater.js"].body.decode()
