"""What a call costs the page, against stock analytics-next in the same run: `.venv/bin/python sdk/javascript/packages/browser/bench/run.py`.

Main-thread time of one track() call in Chromium, 500 calls in a burst, and the bytes of each bundle, gzipped. Both send to the
same collector on loopback. Prints JSON. The figures are wall times: run it on a quiet machine.
"""

from __future__ import annotations

import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[5]
sys.path.insert(0, str(ROOT))

from tests.browser.conftest import FLAGS  # noqa: E402 - the repository is not installed
from tests.support.pages import site  # noqa: E402
from tests.support.scripted_collector import BUILT, VERSION, scripted_collector  # noqa: E402

ROUNDS = 7
CALLS = """() => {
  const before = performance.now()
  for (let n = 0; n < 500; n++) analytics.track('Order Completed', {n, total: 19.99, products: [{sku: 'a'}]})
  return (performance.now() - before) * 2
}"""
OURS = "() => { window.analytics = window.headwater }"
THEIRS = """async (host) => {
  const segment = {'Segment.io': {apiKey: 'wk', apiHost: host.replace('http://', '') + '/v1', protocol: 'http'}}
  const cdnSettings = {integrations: segment}
  window.analytics = (await AnalyticsBrowser.load({writeKey: 'wk', cdnSettings}))[0]
}"""


def bundle(folder: Path) -> str:
    """Stock analytics-next, as a site would bundle it."""
    out = folder / "next.js"
    command = ["npx", "esbuild", "entry.mjs", "--bundle", "--minify", "--format=iife", f"--outfile={out}"]
    subprocess.run(command, cwd=ROOT / "tests" / "e2e" / "node", check=True, capture_output=True, timeout=60)
    return out.read_text()


def microseconds(browser: Browser, address: str, setup: str, host: str) -> float:
    """Median over fresh pages of the time of one call, after a round to warm up."""
    found = []
    for _ in range(ROUNDS):
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.evaluate(setup, host)
        page.evaluate(CALLS)
        found.append(page.evaluate(CALLS))
        context.close()
    return round(statistics.median(found), 1)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, scripted_collector() as collector, site() as pages:
        next_code = bundle(Path(folder))
        pages.pages["/next.js"] = next_code
        ours = pages.put("/ours", "", collector.tag())
        theirs = pages.put("/theirs", "", '<script src="/next.js"></script>')
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            figures = {
                "track_us": {
                    "headwater": microseconds(browser, ours, OURS, collector.url),
                    "analytics-next": microseconds(browser, theirs, THEIRS, collector.url),
                },
                "bytes_gzipped": {
                    "analytics-next": len(gzip.compress(next_code.encode(), 9)),
                    **{
                        name: len(gzip.compress((BUILT / VERSION / name).read_bytes(), 9))
                        for name in ("headwater.core.js", "headwater.js", "headwater.full.js")
                    },
                },
            }
            browser.close()
    print(json.dumps(figures, indent=2))


main()
