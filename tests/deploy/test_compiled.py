"""The wheel with its hot modules compiled (HEADWATER_COMPILE=1): the tests of those modules, and hostile input, on both builds.

`HOSTILE_EVENTS` and `HOSTILE_SEED` say how many events, and which (`make compiled-alike`).
"""

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
from tests.support.hostile import alike, calls

TESTS = ("processors", "test_accepted.py", "test_codec.py", "test_stamp.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOOK = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
MODULES = [name.removesuffix(".py").replace("/", ".") for name in HOOK["modules"]]

ROUND = 8_000  # events for each seed
EVENTS, SEED = int(os.environ.get("HOSTILE_EVENTS", ROUND)), int(os.environ.get("HOSTILE_SEED", "1"))
REACHED = (
    '"reason":"undecodable"', '"reason":"unreadable_body"', '"reason":"duplicate"', '"reason":"bot"', '"reason":"processor_error"',
    '"resolved":true', '"inferred":true', '"isBot":true', '"isBot":false', "address.hosting",
    "context_not_object", "clamped_", "_unparsable", "identity_conflict", "signals.", "raised StopIteration", "answer 'invalid_json'",
)  # fmt: skip  # what a round comes to at least, so that it cannot shrink to events that no processor looks at

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


@pytest.mark.parametrize("seed", range(SEED, SEED + -(-EVENTS // ROUND)))
def test_hostile_events_come_to_the_same(unpacked: Path, tmp_path: Path, seed: int) -> None:
    """Answers, processed and dropped lines, profiles, counts, state and faults of a stream that no client should send."""
    pure, compiled = alike.both(unpacked, tmp_path, "replay", seed, ROUND)
    differs = alike.difference(pure, compiled)
    assert differs is None, f"{differs}\nagain: make compiled-alike EVENTS={ROUND} SEED={seed}"
    told = pure.read_text()
    assert [mark for mark in REACHED if mark not in told] == []
    shutil.rmtree(tmp_path)


def test_calls_come_to_the_same(unpacked: Path, tmp_path: Path) -> None:
    """Each public function with arguments of every type: what an annotation allows gives the same value or error."""
    pure, compiled = alike.both(unpacked, tmp_path, "calls")
    assert pure.stat().st_size > 500_000
    assert alike.unlike(pure, compiled) == []


def test_every_public_function_is_called() -> None:
    """What a compiled module offers is among the calls."""
    assert sorted(set(alike.public(MODULES)) - set(calls.USUAL)) == []


def test_a_wrong_switch_is_named(tmp_path: Path) -> None:
    """Neither 0 nor 1 builds nothing and says what is allowed."""
    told = build(tmp_path, "yes")
    assert told.returncode != 0
    assert "HEADWATER_COMPILE is 'yes'; it may be 1 (compile) or 0 (pure Python)" in told.stderr
    assert not list(tmp_path.glob("*.whl"))
