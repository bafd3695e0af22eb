"""Every code block of docs/sdk is run against a collector that records. The packages' READMEs are run by the packages' own tests.

What a fence says after its language is how: nothing for Python scripts and pages, `node` for Node.js, `browser` for a bundle in Chromium,
`before` for the code that a migration leaves behind, which has to be valid and no more. Blocks that begin with `# name.py` or `// name.ts` are the
files of an app; test_sdk_frameworks.py drives it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.conftest import FLAGS
from tests.support.javascript import built
from tests.support.recording import Recording, recording

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "sdk").glob("*.md"))
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:#|//) (\S+\.\w+)\n")
SHOWN = {"console", "text", "sh"}  # `sh` of docs/ is run by test_docs.py

HOSTS = re.compile(
    r"https?://(?:localhost:8080|(?:api\.segment\.io|dataplane\.example\.com|collect\.example\.com)\b)"
)
# A call of a page, pushed or direct, with its first argument.
CALL = re.compile(r"headwater\.(?:push\(\['(\w+)'(?:, '([^']*)')?|(?!push)(\w+)\((?:'([^']*)')?)")
# What a visitor's browser holds when a site moves, as written by @rudderstack/analytics-js 3.34 (with its encryption plug-in, and
# without) and posthog-js 1.449.
COOKIES: dict[str, list[dict[str, str]]] = {
    "": [{}],
    "rudderstack": [
        {"rl_anonymous_id": "RS_ENC_v3_InZpc2l0b3ItMSI%3D", "rl_user_id": "RS_ENC_v3_InVfZG9jcyI%3D"},
        {"rl_anonymous_id": "%22visitor-1%22", "rl_user_id": "%22u_docs%22"},
    ],
    "posthog": [
        {
            "ph_PROJECT_API_KEY_posthog": "%7B%22%24device_id%22%3A%22visitor-1%22%2C%22distinct_id%22%3A%22u_docs%22%7D"
        }
    ],
}


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    where: str
    language: str
    flags: frozenset[str]
    text: str

    @property
    def file(self) -> str | None:
        """The file of an app that it is."""
        found = FILE.match(self.text)
        return found[1] if found else None

    def localised(self, collector: Recording) -> str:
        """The text, with the collector's address in the place of every server's."""
        return HOSTS.sub(collector.url, self.text)


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page."""
    text = page.read_text()
    return [
        Block(
            f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}",
            match[1],
            frozenset(match[2].split()),
            match[3],
        )
        for match in FENCE.finditer(text)
    ]


ALL = [block for page in PAGES for block in blocks_of(page)]
SCRIPTS = [b for b in ALL if b.language == "python" and not b.flags and b.file is None]
NODE = [b for b in ALL if "node" in b.flags]
BUNDLES = [b for b in ALL if b.language == "js" and "browser" in b.flags]
HTML = [b for b in ALL if b.language == "html"]
BEFORE = [b for b in ALL if "before" in b.flags]
FILES = [b for b in ALL if b.file is not None]


def ident(block: Block) -> str:
    """The block's place, as test id."""
    return block.where


@pytest.fixture(scope="module")
def server() -> Iterator[Recording]:
    """The collector of all blocks."""
    with recording() as found:
        yield found


@pytest.fixture
def collector(server: Recording) -> Recording:
    """The collector, with nothing in it."""
    server.clear()
    return server


def test_no_block_is_left_out() -> None:
    """Each is run in one of the ways, or shows what is no code of ours; and there are many."""
    ways = [SCRIPTS, NODE, BUNDLES, HTML, BEFORE, FILES]
    counts = {b.where: sum(b in way for way in ways) for b in ALL if b.language not in SHOWN}
    assert {where for where, count in counts.items() if count != 1} == set()
    assert all(len(way) >= 3 for way in ways)


def accounts_are_there(block: Block, collector: Recording) -> None:
    """On the page about accounts every event has its account, in whatever way it was said."""
    if "/accounts.md" in block.where:
        found = [event["context"].get("groupId", event.get("groupId")) for event in collector.events]
        assert set(found) == {"acme"}


@pytest.mark.parametrize("block", SCRIPTS, ids=ident)
def test_python_blocks_do_what_they_say(block: Block, collector: Recording, tmp_path: Path) -> None:
    """Scripts end without an error or a word on stderr that they do not mean, and their events have arrived."""
    (tmp_path / "block.py").write_text(block.localised(collector))
    # other SDKs use what newer versions of Python deprecate
    strict = [] if re.search(r"segment\.|rudderstack\.", block.text) else ["-W", "error"]
    done = subprocess.run(
        [sys.executable, *strict, "block.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert collector.events
    accounts_are_there(block, collector)
    if "message_id=message" in block.text:  # side by side: the same event, told apart by its key
        ours, theirs = sorted(collector.events, key=lambda event: str(event["writeKey"]), reverse=True)
        assert (ours["writeKey"], ours["messageId"]) == ("wk_api", theirs["messageId"])


@pytest.mark.node
@pytest.mark.parametrize("block", NODE, ids=ident)
def test_node_blocks_do_what_they_say(block: Block, collector: Recording) -> None:
    """Modules end without an error, and their events have arrived."""
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", block.localised(collector)],
        cwd=built(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert collector.events
    assert {event["context"]["library"]["name"] for event in collector.events} == {"headwater-node"}
    accounts_are_there(block, collector)


@pytest.mark.node
def test_what_a_migration_leaves_behind_is_valid(tmp_path: Path) -> None:
    """Code of other SDKs, which are not all installed here: it parses."""
    for number, block in enumerate(BEFORE):
        if block.language == "python":
            compile(block.text, block.where, "exec")
            continue
        file = tmp_path / f"before{number}.mjs"
        file.write_text(block.text)
        done = subprocess.run(
            ["node", "--check", str(file)], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"{block.where}\n{done.stderr}"


@pytest.fixture(scope="module")
def visitor() -> Iterator[BrowserContext]:
    """Debian's Chromium with nothing in it; every block begins and leaves it so."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser.new_context()
        browser.close()


def visit(visitor: BrowserContext, collector: Recording, cookies: dict[str, str]) -> None:
    """Open the collector's page as a new visitor, and wait until an event of it has arrived; no script has failed."""
    visitor.clear_cookies()
    visitor.add_cookies([{"name": n, "value": v, "url": collector.url} for n, v in cookies.items()])
    page = visitor.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.goto(collector.url)
        collector.wait_for(bool)
        for button in page.get_by_role("button").all():
            button.click()
            collector.wait_for(lambda events: events[-1]["type"] == "track")
        report = page.evaluate(
            "window.headwater ? headwater.flush(5000) : null"
        )  # a bundle keeps its own to itself
        assert report is None or (report["queued"], report["rejected"], report["dropped"]) == (0, [], [])
        assert errors == []
    finally:
        page.evaluate("localStorage.clear()")
        page.close()


def names(collector: Recording) -> list[Any]:
    """Types of what arrived, or the names of tracked events."""
    return [event.get("event", event["type"]) for event in collector.events]


@pytest.mark.browser
@pytest.mark.parametrize("block", HTML, ids=ident)
def test_pages_work_as_printed(block: Block, collector: Recording, visitor: BrowserContext) -> None:
    """The tag loads the SDK, and what was called before it was there has arrived, in order."""
    collector.page = (
        f"<!doctype html><title>Shop</title><link rel=icon href=data:,>{block.localised(collector)}"
    )
    visit(visitor, collector, {})
    called = [(a or c, b or d) for a, b, c, d in CALL.findall(block.text)]
    assert names(collector) == [event if call == "track" else call for call, event in called]
    assert {event["writeKey"] for event in collector.events} == {"wk_web"}


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.parametrize("block", BUNDLES, ids=ident)
def test_browser_modules_work_in_a_bundle(
    block: Block, collector: Recording, visitor: BrowserContext, tmp_path: Path
) -> None:
    """Bundled as by any bundler; events arrive, and where a site moves, from the visitor of before."""
    (tmp_path / "block.mjs").write_text(block.localised(collector))
    done = subprocess.run(
        ["node_modules/.bin/esbuild", str(tmp_path / "block.mjs"), "--bundle", "--format=iife"],
        cwd=built(), capture_output=True, text=True, timeout=60, check=False,
        env={"NODE_PATH": str(built() / "node_modules"), "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    script = done.stdout.replace("</script", "<\\/script")
    collector.page = f"<!doctype html><title>Shop</title><link rel=icon href=data:,><script>{script}</script>"
    calls = re.findall(r"^(?:if .*)?analytics\.(?:page|identify|group|track)\(", block.text, re.MULTILINE)
    (former,) = block.flags - {"browser"} or {""}
    for cookies in COOKIES[former]:
        collector.clear()
        visit(visitor, collector, cookies)
        collector.wait_for(lambda events: len(events) == len(calls))
        assert not former or {event["anonymousId"] for event in collector.events} == {"visitor-1"}
        assert "u_docs" in {event.get("userId") for event in collector.events}
