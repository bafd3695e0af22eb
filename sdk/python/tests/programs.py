"""Programs that use the package, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[1] / "src"
posix = pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL are POSIX")


def run(script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own; it gets `headwater_sdk` and its arguments in `argv`."""
    return subprocess.run(
        command(script, *arguments),
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        env=env(),
        **options,
    )


def command(script: str, *arguments: str) -> list[str]:
    """Return the command that runs a script."""
    return [
        sys.executable,
        "-W",
        "error",
        "-c",
        f"import sys, os\nimport headwater_sdk\nargv = sys.argv\n{script}",
        *arguments,
    ]


def env() -> dict[str, str]:
    """Return an environment in which the package is found."""
    return {**os.environ, "PYTHONPATH": str(SOURCE)}
