"""The React page of the docs in Chromium under StrictMode, with the real SDK and collector: each event once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.pages import site
from tests.support.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.node]

ROOT = Path(__file__).parents[2]
JAVASCRIPT = ROOT / "sdk" / "javascript"
PACKAGES = JAVASCRIPT / "packages"
ENTRY = """
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app'
createRoot(document.getElementById('app')!).render(<StrictMode><App /></StrictMode>)
"""


def bundle(folder: Path, app: str) -> str:
    """A development build of the docs' app against the packages' source: StrictMode mounts twice only there."""
    (folder / "app.tsx").write_text(app)
    (folder / "entry.tsx").write_text(ENTRY)
    names = {
        "react": "react/src/index.ts",
        "browser": "browser/src/index.ts",
        "browser/plugins": "browser/src/plugins/index.ts",
    }
    done = subprocess.run(
        [
            *("npx", "esbuild", str(folder / "entry.tsx"), "--bundle", "--format=iife", "--jsx=automatic"),
            '--define:process.env.NODE_ENV="development"',
            *(f"--alias:@headwater/{name}={PACKAGES / source}" for name, source in names.items()),
        ],
        cwd=JAVASCRIPT,
        env={**os.environ, "NODE_PATH": str(JAVASCRIPT / "node_modules")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_app_of_the_docs_sends_each_event_once_under_strict_mode(
    browser: Browser, headwater: Running, tmp_path: Path
) -> None:
    """Mounted twice by React, shown, clicked once: one page view, one identify, one track, and no complaint of React's."""
    user = f"u-{uuid.uuid4().hex[:12]}"
    blocks = re.findall(
        r"^```tsx\n(.*?)^```$", (ROOT / "docs/developer/react.md").read_text(), re.MULTILINE | re.DOTALL
    )
    app = blocks[0].replace("http://localhost:8080", headwater.url).replace("u_react", user)
    context = browser.new_context()
    with site() as pages:
        pages.pages["/app.js"] = bundle(tmp_path, app)
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(pages.put("/", '<div id="app"></div><script src="/app.js"></script>'))
        page.click("text=Choose")
        anonymous = f"anonymous_id = '{_id(page.evaluate('document.cookie'))}'"
        headwater.wait_for(
            f"user_id = '{user}' AND type = 'track'", 1
        )  # the last one: those before it are there
        found = headwater.sql(
            "SELECT type, name, event_text, toJSONString(traits) AS traits FROM headwater.events "
            f"WHERE {anonymous} ORDER BY message_id"
        )
    context.close()
    assert [(row["type"], row["name"] or row["event_text"] or "") for row in found] == [
        ("page", "Plans"),
        ("identify", ""),
        ("track", "Plan Chosen"),
    ]
    assert json.loads(found[1]["traits"]) == {"plan": "team"}
    assert problems == []


def _id(cookies: str) -> str:
    """The visitor's id in a page's cookies."""
    (found,) = re.findall(r"ajs_anonymous_id=([\w-]+)", cookies)
    return str(found)
