"""One version for all SDKs: what sdk/VERSION says, everywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.javascript import PACKAGES

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk"
STAMP = SDK / "javascript" / "tools" / "version.mjs"
STAMPED = [
    "VERSION",
    "python/src/headwater_sdk/_version.py",
    "javascript/package-lock.json",
    *(f"javascript/packages/{name}/package.json" for name in PACKAGES),
]

pytestmark = pytest.mark.node


def stamp(sdk: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tool on a tree."""
    return subprocess.run(
        ["node", str(STAMP), *options],
        env={**os.environ, "SDK": str(sdk)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that carry the version, to change them."""
    for name in STAMPED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SDK / name, tmp_path / name)
    return tmp_path


def test_every_package_has_the_version_of_the_one_file() -> None:
    """Python, the three npm packages, what React's depends on, and the lock file."""
    told = stamp(SDK, "--check")
    assert (told.returncode, told.stderr) == (0, "")


def test_each_changelog_has_the_version() -> None:
    """A release says what is in it; a pre-release counts to the release that it leads to."""
    version = (SDK / "VERSION").read_text().split("-")[0].strip()
    for package in ("python", *(f"javascript/packages/{name}" for name in PACKAGES)):
        changelog = (SDK / package / "CHANGELOG.md").read_text()
        assert re.search(rf"^## {re.escape(version)}\b", changelog, re.MULTILINE), package


def test_the_collector_serves_this_version() -> None:
    """What `npm run collector` has put there."""
    version = (SDK / "VERSION").read_text().strip()
    manifest = json.loads((ROOT / "collector" / "browser" / version / "manifest.json").read_text())
    assert manifest["version"] == version


def test_a_version_that_differs_is_named(copy: Path) -> None:
    """The check says which file, and what to type."""
    (copy / "VERSION").write_text("2.0.0\n")
    told = stamp(copy, "--check")
    assert told.returncode == 1
    lines = told.stderr.splitlines()
    assert len(lines) == 9
    assert all("make sdk-version V=2.0.0" in line for line in lines)
    version = (SDK / "VERSION").read_text().strip()
    assert lines[1].startswith(
        f"sdk/javascript/packages/browser/package.json says {version}, sdk/VERSION says 2.0.0"
    )


@pytest.mark.parametrize(("version", "python"), [("2.10.1", "2.10.1"), ("3.0.0-rc.2", "3.0.0rc2")])
def test_a_new_version_is_stamped_everywhere(copy: Path, version: str, python: str) -> None:
    """One file is written by hand, the others follow; Python writes pre-releases its own way."""
    (copy / "VERSION").write_text(f"{version}\n")
    assert stamp(copy).returncode == 0
    assert stamp(copy, "--check").returncode == 0
    assert f'VERSION = "{python}"' in (copy / "python/src/headwater_sdk/_version.py").read_text()
    react = json.loads((copy / "javascript/packages/react/package.json").read_text())
    assert (react["version"], react["dependencies"]["@headwater/browser"]) == (version, version)


def test_what_is_no_version_is_refused(copy: Path) -> None:
    """Before anything is written."""
    (copy / "VERSION").write_text("v2\n")
    told = stamp(copy)
    assert told.returncode == 1
    assert 'sdk/VERSION is "v2"; it must be like 1.2.3' in told.stderr
