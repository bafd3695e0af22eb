"""The wheel with its hot modules compiled (HEADWATER_COMPILE=1): the tests of those modules, run on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deploying import BIN, ROOT

TESTS = ("processors", "test_accepted.py", "test_codec.py", "test_stamp.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOOK = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
MODULES = [name.removesuffix(".py").replace("/", ".") for name in HOOK["modules"]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def unpacked() -> Iterator[Path]:
    """The compiled wheel of this source tree, unpacked."""
    folder = Path(tempfile.mkdtemp(prefix="headwater-compiled-"))
    try:
        built = build(folder, "1")
        assert built.returncode == 0, built.stderr
        (wheel,) = folder.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(folder / "lib")
        yield folder / "lib"
    finally:
        shutil.rmtree(folder)


def build(folder: Path, switch: str) -> subprocess.CompletedProcess[str]:
    """`uv build`, as a person types it."""
    command = [
        str(BIN / "uv"),
        "build",
        "--wheel",
        "--python",
        sys.executable,
        "--out-dir",
        str(folder),
        str(ROOT),
    ]
    environ = {**os.environ, "HEADWATER_COMPILE": switch}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)


def python(unpacked: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the unpacked wheel."""
    environ = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500
    )


def test_every_module_that_is_named_is_compiled(unpacked: Path) -> None:
    """And `headwater version` says so."""
    code = f"import importlib, json; print(json.dumps([importlib.import_module(name).__file__ for name in {MODULES}]))"
    told = python(unpacked, "-c", code)
    files = json.loads(told.stdout)
    assert len(files) == len(MODULES) > 10
    assert all(file.startswith(str(unpacked)) and file.endswith(".so") for file in files), files
    assert json.loads(python(unpacked, "-m", "headwater", "version", "--json").stdout)["compiled"] is True


def test_their_own_tests_pass(unpacked: Path) -> None:
    """The same tests that the sources pass, property tests and golden files too."""
    options = ["-q", "-p", "no:cacheprovider", "-n", "0", "-o", f"pythonpath={unpacked} . sdk/python/src"]
    told = python(unpacked, "-m", "pytest", *options, *(f"tests/unit/{name}" for name in TESTS))
    assert told.returncode == 0, told.stdout[-4000:]
    assert "passed" in told.stdout


def test_a_wrong_switch_is_named(tmp_path: Path) -> None:
    """Neither 0 nor 1 builds nothing and says what is allowed."""
    told = build(tmp_path, "yes")
    assert told.returncode != 0
    assert "HEADWATER_COMPILE is 'yes'; it may be 1 (compile) or 0 (pure Python)" in told.stderr
    assert not list(tmp_path.glob("*.whl"))
