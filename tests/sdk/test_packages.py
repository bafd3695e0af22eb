"""What is published works where nothing else is: built, installed without a network, and an event arrives."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import headwater_sdk
from tests.support.javascript import PACKAGES, built
from tests.support.recording import Recording, recording

SDK = Path(__file__).parents[2] / "sdk"
VERSION = (SDK / "VERSION").read_text().strip()
PYTHON_VERSION = headwater_sdk.__version__  # the same, as Python packages write it

PYTHON_APP = """
import headwater_sdk, headwater_sdk.b2b, headwater_sdk.middleware.asgi, headwater_sdk.testing, sys
client = headwater_sdk.Client("wk", sys.argv[1])
client.track("u1", "Installed")
print(client.shutdown().delivered, headwater_sdk.__version__)
"""
NODE_APP = """
import { Analytics } from '@headwater/node'
const analytics = new Analytics({ writeKey: 'wk', host: process.argv[2] })
analytics.track({ userId: 'u1', event: 'Installed' })
console.log((await analytics.closeAndFlush()).delivered, analytics.VERSION)
"""
# A page as small as it may be: what the core needs of a browser to send an event.
BROWSER_APP = """
import * as sdk from '@headwater/browser'
import * as plugins from '@headwater/browser/plugins'
const required = (await import('node:module')).createRequire(import.meta.url)('@headwater/browser')
console.log(sdk.version, required.version, typeof sdk.load, typeof plugins.consent)
"""
REACT_APP = """
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { HeadwaterProvider, useTrack } from '@headwater/react'
const Plans = () => { useTrack(); return 'plans' }
console.log(renderToString(createElement(HeadwaterProvider, { writeKey: 'wk', options: { host: 'http://c' } }, createElement(Plans))))
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[Recording]:
    """Where the installed packages send to."""
    with recording() as found:
        yield found


def run(*command: str, cwd: Path, seconds: int = 60) -> str:
    """Run a command to its end; what it printed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False, env=environment(cwd)
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def environment(home: Path) -> dict[str, str]:
    """Nothing of the developer's own: no source tree on any path."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "npm_config_offline": "true"}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`python -m build`: the sdist, and the wheel made from it."""
    folder = tmp_path_factory.mktemp("python")
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(SDK / "python"),
        cwd=folder,
    )
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(distributions: Path) -> None:
    """Code, types, licence and entry points; no tests, no benches, no dependencies."""
    (wheel,) = distributions.glob("*.whl")
    assert wheel.name == f"headwater_sdk-{PYTHON_VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"headwater_sdk-{PYTHON_VERSION}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
    assert {name.split("/")[0] for name in names} == {"headwater_sdk", info}
    assert {"headwater_sdk/py.typed", f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"} <= names
    assert "Requires-Dist" not in metadata
    assert "```python" in metadata  # the README is the page of the registry


def test_the_sdist_can_be_built_from(distributions: Path) -> None:
    """It has what the wheel was just made of, with README, changelog and licence."""
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "src/headwater_sdk/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "bench"))]


def test_the_wheel_alone_in_an_empty_environment_sends_an_event(
    distributions: Path, tmp_path: Path, collector: Recording
) -> None:
    """By pip with neither index nor dependencies, then the command line and a script."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = str(tmp_path / "venv" / "bin" / "python")
    (wheel,) = distributions.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    run(*pip, str(wheel), cwd=tmp_path)
    assert run(python, "-c", PYTHON_APP, collector.url, cwd=tmp_path).split() == ["1", PYTHON_VERSION]
    sent = ["track", "--write-key", "wk", "--host", collector.url, "--user-id", "u2", "Typed"]
    run(python, "-m", "headwater_sdk", *sent, cwd=tmp_path)
    found = [
        event["event"]
        for event in collector.events
        if event["context"]["library"]["name"] == "headwater-python"
    ]
    assert found == ["Installed", "Typed"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `npm install` has put the three packed packages, with React from the workspace."""
    folder = tmp_path_factory.mktemp("npm")
    workspace = built()
    run("npm", "pack", "--silent", "--workspaces", "--pack-destination", str(folder), cwd=workspace)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    packed = [str(folder / f"headwater-{name}-{VERSION}.tgz") for name in PACKAGES]
    peers = [str(workspace / "node_modules" / name) for name in ("react", "react-dom", "scheduler")]
    run(
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--legacy-peer-deps",
        *packed,
        *peers,
        cwd=folder,
    )
    return folder


@pytest.mark.node
@pytest.mark.parametrize("name", PACKAGES)
def test_an_npm_package_is_complete(app: Path, name: str) -> None:
    """Whatever package.json points to is in it, code has its source map, and no source or test is."""
    package = app / "node_modules" / "@headwater" / name
    files = {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()}
    manifest = json.loads((package / "package.json").read_text())
    assert {"README.md", "CHANGELOG.md", "LICENSE"} <= files
    assert named(manifest["exports"]) <= files
    assert {manifest["main"][2:], manifest["module"][2:], manifest["types"][2:]} <= files
    code = {file for file in files if file.startswith("dist/") and file.endswith((".js", ".cjs"))}
    assert code
    assert {f"{file}.map" for file in code} <= files
    assert {file.split("/")[0] for file in files} == {
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "package.json",
        "dist",
    }


def named(exports: object) -> set[str]:
    """The files that an `exports` field names."""
    if isinstance(exports, str):
        return {exports.removeprefix("./")}
    assert isinstance(exports, dict)
    return set().union(*map(named, exports.values()))


@pytest.mark.node
def test_the_node_package_alone_sends_an_event(app: Path, collector: Recording) -> None:
    """Its import resolves within the folder, and the report is the collector's word."""
    (app / "app.mjs").write_text(NODE_APP)
    assert run("node", "app.mjs", collector.url, cwd=app).split() == ["1", VERSION]
    assert [event["event"] for event in collector.events][-1] == "Installed"


@pytest.mark.node
def test_the_browser_package_is_imported_and_required(app: Path) -> None:
    """On a server, too, where bundlers and frameworks load it: nothing happens, it knows its version."""
    (app / "page.mjs").write_text(BROWSER_APP)
    assert run("node", "page.mjs", cwd=app).split() == [VERSION, VERSION, "function", "function"]


@pytest.mark.node
def test_the_react_package_renders_on_a_server(app: Path) -> None:
    """With the browser package that was installed beside it."""
    (app / "react.mjs").write_text(REACT_APP)
    assert run("node", "react.mjs", cwd=app) == "plans\n"
