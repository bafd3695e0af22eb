"""A page with the stock browser SDK, served from loopback, in Debian's Chromium."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.running import Running, free_port

NODE = Path(__file__).parent.parent / "e2e" / "node"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE = """<!doctype html><html><head><title>Shop</title><link rel="icon" href="data:,"></head>
<body><h1>Shop</h1><script src="/bundle.js"></script></body></html>"""


@pytest.fixture(scope="session")
def headwater(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running Headwater for the browser tests."""
    running = Running(tmp_path_factory.mktemp("up"))
    try:
        yield running.start()
    finally:
        if running.process is not None:
            running.stop()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page that has loaded @segment/analytics-next from a bundle made by esbuild."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        ["npx", "esbuild", "entry.mjs", "--bundle", "--format=iife", f"--outfile={folder / 'bundle.js'}"],
        cwd=NODE,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (folder / "index.html").write_text(PAGE)
    handler = partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join(5)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without writing a line for each."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium from Debian's packages; ends with its module, as Playwright's loop would disturb async tests."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        assert path, "chromium is missing: apt-get install chromium (make test does it)"
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
