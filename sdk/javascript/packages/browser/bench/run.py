"""What a call costs the page, against stock analytics-next in the same run: `.venv/bin/python sdk/javascript/packages/browser/bench/run.py`.

In Chromium: how long one track() call keeps its caller (100 in a burst), what one event costs the main thread until it is
delivered (100, twenty at a time), and what loading costs it until the SDK is ready, an empty page taken off. And the bytes of
each bundle, gzipped. Both send to the same collector on loopback, in turns, each on a fresh page. Prints JSON. Run it on a
quiet machine.
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

from playwright.sync_api import Browser, CDPSession, sync_playwright

ROOT = Path(__file__).parents[5]
sys.path.insert(0, str(ROOT))

from tests.browser.conftest import FLAGS  # noqa: E402 - the repository is not installed
from tests.support.pages import site  # noqa: E402
from tests.support.scripted_collector import BUILT, VERSION, scripted_collector  # noqa: E402

ROUNDS = 5
CALLS = """() => {
  const before = performance.now()
  for (let n = 0; n < 100; n++) analytics.track('Order Completed', {n, total: 19.99, products: [{sku: 'a'}]})
  return (performance.now() - before) * 10
}"""
DELIVERED = """async () => {
  for (let burst = 0; burst < 5; burst++) {
    const calls = []
    for (let n = 0; n < 20; n++) calls.push(analytics.track('Order Completed', {n, total: 19.99, products: [{sku: 'a'}]}))
    await Promise.all(calls)
  }
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


def busy_us(client: CDPSession) -> float:
    """How long the main thread of a page has been busy so far."""
    metrics = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"]) * 1e6


def measured(browser: Browser, address: str, setup: str, host: str) -> dict[str, float]:
    """The figures of one fresh page."""
    context = browser.new_context()
    page = context.new_page()
    client = context.new_cdp_session(page)
    client.send("Performance.enable")
    before = busy_us(client)
    page.goto(address)
    page.evaluate(setup, host)
    loading = busy_us(client) - before
    if "empty" in address:
        context.close()
        return {"load_ms": loading / 1e3}
    page.evaluate(DELIVERED)  # so that the code is warm
    before = busy_us(client)
    page.evaluate(DELIVERED)
    event = (busy_us(client) - before) / 100
    call = page.evaluate(CALLS)
    context.close()
    return {"call_us": call, "event_us": event, "load_ms": loading / 1e3}


def compared(browser: Browser, pages: dict[str, tuple[str, str]], host: str) -> dict[str, dict[str, float]]:
    """Take turns; medians."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
    for _ in range(ROUNDS):
        for name, (address, setup) in pages.items():
            found[name].append(measured(browser, address, setup, host))
    medians = {
        name: {key: statistics.median(one[key] for one in each) for key in each[0]}
        for name, each in found.items()
    }
    nothing = medians.pop("empty")["load_ms"]
    for one in medians.values():
        one["load_ms"] -= nothing
    return {name: {key: float(f"{value:.3g}") for key, value in one.items()} for name, one in medians.items()}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, scripted_collector() as collector, site() as pages:
        next_code = bundle(Path(folder))
        pages.pages["/next.js"] = next_code
        ours = pages.put("/ours", "", collector.tag())
        theirs = pages.put("/theirs", "", '<script src="/next.js"></script>')
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            measures = {
                "empty": (pages.put("/empty", ""), "() => {}"),
                "headwater": (ours, OURS),
                "analytics-next": (theirs, THEIRS),
            }
            figures = {
                "chromium": browser.version,
                "rounds": ROUNDS,
                **compared(browser, measures, collector.url),
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
