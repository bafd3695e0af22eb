"""The JavaScript SDKs as they are published: built when their source is newer than the build."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

JAVASCRIPT = Path(__file__).parents[2] / "sdk" / "javascript"
PACKAGES = ("browser", "node", "react")


def built() -> Path:
    """The workspace, with its dependencies installed and every package's `dist` up to date; one process builds at a time."""
    with (JAVASCRIPT / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (JAVASCRIPT / "node_modules" / ".package-lock.json").exists():
            _npm("install", "--silent", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved")
        for name in PACKAGES:
            if _outdated(JAVASCRIPT / "packages" / name):
                _npm("run", "--silent", "build", "--workspace", f"packages/{name}")
    return JAVASCRIPT


def _outdated(package: Path) -> bool:
    made = package / "dist" / "types-cjs" / "package.json"  # what a build writes last
    inputs = [*(package / "src").rglob("*.ts*"), package / "build.mjs", *(JAVASCRIPT / "tools").glob("*.mjs")]
    newest = max(file.stat().st_mtime for file in [*inputs, JAVASCRIPT.parent / "VERSION"])
    return not made.exists() or made.stat().st_mtime < newest


def _npm(*arguments: str) -> None:
    done = subprocess.run(
        ["npm", *arguments], cwd=JAVASCRIPT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, f"npm {arguments}\n{done.stdout}{done.stderr}"
