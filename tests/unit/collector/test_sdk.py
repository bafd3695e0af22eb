"""The browser SDK as the collector serves it: releases, caching, compression, integrity, and what Segment's snippet loads."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from collector import browser
from collector.routes import sdk
from tests.support.serving import Served, serve, workspace

JAVASCRIPT = Path(__file__).parents[3] / "sdk" / "javascript"
VERSION = (JAVASCRIPT.parent / "VERSION").read_text().strip()
FILE = f"/sdk/{VERSION}/headwater.js"


@pytest.mark.parametrize("name", ["headwater.js", "headwater.full.js", "headwater.js.map"])
async def test_a_release_is_kept_for_a_year_and_may_be_used_by_any_page(served: Served, name: str) -> None:
    """The file's own bytes and type; immutable; readable across origins without credentials."""
    answer = await served.request("GET", f"/sdk/{VERSION}/{name}", headers={"Origin": "https://a.example"})
    assert (answer.status, answer.body) == (200, browser.assets(VERSION)[name].body)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == (
        "application/json" if name.endswith("map") else "text/javascript; charset=utf-8"
    )


async def test_the_newest_of_a_major_is_asked_for_again_soon(served: Served) -> None:
    """v1 is the same file, kept for minutes."""
    answer = await served.request("GET", "/sdk/v1/headwater.js")
    assert answer.body == browser.assets(VERSION)["headwater.js"].body
    assert answer.headers["cache-control"].startswith("public, max-age=300, stale-while-revalidate=")


async def test_who_can_take_gzip_gets_it(served: Served) -> None:
    """Compressed once for all; caches are told that the answers differ, and their tags do."""
    plain = await served.request("GET", FILE, headers={"Accept-Encoding": "br, gzip;q=0"})
    zipped = await served.request("GET", FILE, headers={"Accept-Encoding": "gzip, deflate, br"})
    assert "content-encoding" not in plain.headers
    assert (zipped.headers["content-encoding"], zipped.headers["vary"]) == ("gzip", "accept-encoding")
    assert gzip.decompress(zipped.body) == plain.body
    assert len(zipped.body) < len(plain.body) / 2
    assert zipped.headers["etag"] != plain.headers["etag"]


@pytest.mark.parametrize("path", [FILE, "/sdk/v1/headwater.js", "/analytics.js/v1/wk_web/analytics.min.js"])
async def test_what_has_not_changed_is_not_sent_again(served: Served, path: str) -> None:
    """304 with the same tag and cache rules, also for a weak tag in a list; another tag gets the file."""
    first = await served.request("GET", path)
    known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
    again = await served.request("GET", path, headers=known)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == first.headers["cache-control"]
    assert (await served.request("GET", path, headers={"If-None-Match": '"other"'})).status == 200


async def test_the_hashes_are_those_of_the_files(served: Served) -> None:
    """integrity.json says path and hash of each script of the exact release."""
    pins = (await served.request("GET", "/sdk/v1/integrity.json")).json
    assert pins["version"] == VERSION
    assert set(pins["scripts"]) == set(browser.SCRIPTS)
    for pinned in pins["scripts"].values():
        body = (await served.request("GET", pinned["src"])).body
        assert (browser.integrity(body), len(body)) == (pinned["integrity"], pinned["bytes"])


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "/sdk/0.9.0/headwater.js",
            f"no release 0.9.0 of the browser SDK is here; there are {VERSION}, and v1",
        ),
        ("/sdk/v9/headwater.js", "no release v9"),
        ("/sdk/v1/other.js", "other.js is no file of release"),
        (f"/sdk/{VERSION}/__init__.py", "__init__.py is no file"),
        ("/sdk/__pycache__/x", "no release __pycache__"),
        ("/analytics.js/v1/nobody/analytics.min.js", "no source has this write key"),
        ("/analytics.js/v1/wk_off/analytics.min.js", "no source has this write key"),
    ],
)
async def test_what_is_not_here_is_named_with_what_is(served: Served, path: str, says: str) -> None:
    """404 with the usual body."""
    answer = await served.request("GET", path)
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert says in answer.json["message"]


async def test_segments_snippet_loads_the_build_with_its_key_and_this_host(tmp_path: Path) -> None:
    """The key of the path, and the host by which browsers reach us, a path included; never a Host header that is none."""
    public = workspace(collector={"public_url": "https://t.example.com/hw/"}, limits={"disk_free_bytes": 0})
    path = "/analytics.js/v1/wk_web/analytics.min.js"
    async with serve(tmp_path, public) as served:
        text = (await served.request("GET", path)).body.decode()
    assert text.startswith('(function(a){a._writeKey="wk_web";a._cdn=a._cdn||"https://t.example.com/hw"})')
    assert "sourceMappingURL" not in text
    async with serve(tmp_path / "2", workspace(limits={"disk_free_bytes": 0})) as served:
        bad = await served.request("GET", path, headers={"Host": "evil/</script>"})
        assert b"evil" not in bad.body
        good = await served.request("GET", path, headers={"Host": "in.example.com"})
        assert b'"http://in.example.com"' in good.body
        assert "host" in good.headers["vary"]


def test_a_key_cannot_end_the_string_it_stands_in() -> None:
    """Whatever an operator takes as a key is a string of JavaScript, also for an HTML parser."""
    told = sdk.booting(VERSION, 'a"</script>\\\u2028', "https://x").body.decode().splitlines()[0]
    assert told.startswith('(function(a){a._writeKey="a\\"\\u003c/script>\\\\\\u2028";')


def test_an_older_release_stays_and_the_newest_of_a_major_is_found_by_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1.10.0 is newer than 1.9.0, and another major is never served for v1."""
    monkeypatch.setattr(browser, "releases", lambda: ("1.0.0", "1.9.0", "1.10.0", "2.0.0"))
    assert [browser.release(asked) for asked in ("v1", "v2", "1.9.0", "1.8.0", "v", "vx", "")] == [
        *("1.10.0", "2.0.0", "1.9.0"),
        *(None, None, None, None),
    ]


@pytest.mark.node
def test_the_files_are_what_the_source_makes() -> None:
    """Built anew and compared byte for byte."""
    assert (JAVASCRIPT / "node_modules").is_dir(), "make js installs what builds the SDK"
    node = shutil.which("node")
    assert node
    done = subprocess.run(
        [node, "tools/collector.mjs", "--check"],
        cwd=JAVASCRIPT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_manifest_describes_its_files() -> None:
    """Sizes and hashes of every script, nothing else."""
    manifest = json.loads(browser.assets(VERSION)["manifest.json"].body)
    assert set(manifest["files"]) == set(browser.SCRIPTS)
    for name, described in manifest["files"].items():
        body = browser.assets(VERSION)[name].body
        assert described == {"bytes": len(body), "integrity": browser.integrity(body)}
