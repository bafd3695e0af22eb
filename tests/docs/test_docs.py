"""Every code block of README and docs is run: what a reader types works as printed.

`sh` blocks run in bash, `python` blocks as scripts, `sql` blocks against ClickHouse (a following `text` block is its answer),
`yaml` blocks that declare a workspace are loaded, `javascript` blocks run in Node.js (what is about SDKs: test_sdk_docs.py). Ports and keys of the docs (8080, 8123, wk_web,
wk_api) are those of the running server. Blocks in other languages (`text`, `console`, `ini`, `json`) show, they do not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.running import Running

ROOT = Path(__file__).parents[2]
NODE = ROOT / "tests" / "e2e" / "node"
SDK = ROOT / "docs" / "sdk"
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block, with the block that follows it (a query's answer)."""

    where: str
    language: str
    flags: str
    text: str
    following: str


def blocks(*languages: str) -> list[Block]:
    """All blocks of the given languages in README and docs."""
    found = []
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text()
        matches = list(FENCE.finditer(text))
        for number, match in enumerate(matches):
            if match[1] not in languages or (SDK in path.parents and match[1] == "python"):
                continue
            following = (
                matches[number + 1][3]
                if number + 1 < len(matches) and matches[number + 1][1] == "text"
                else ""
            )
            line = text.count("\n", 0, match.start()) + 1
            name = f"{path.relative_to(ROOT)}:{line}"
            found.append(Block(name, match[1], match[2].strip(), match[3], following))
    return found


def localised(text: str, demo: Running) -> str:
    """The text with the running server's ports."""
    for host in ("localhost", "127.0.0.1"):
        text = text.replace(f"{host}:8080", f"127.0.0.1:{demo.port}").replace(
            f"{host}:8123", f"127.0.0.1:{demo.sql_port}"
        )
    return text.replace("port=8123", f"port={demo.sql_port}")


def environment(demo: Running) -> dict[str, str]:
    """A shell whose `headwater` finds the running installation."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HEADWATER_DIR": str(demo.dir), "HEADWATER_WORKSPACE": str(demo.file)}


def ident(block: Block) -> str:
    """The block's place, as test id."""
    return block.where


@pytest.mark.parametrize("block", blocks("sh"), ids=ident)
def test_shell_blocks_run(block: Block, demo: Running, tmp_path: Path) -> None:
    """Commands exit 0; `make` verbs, which CI runs itself, must exist."""
    if block.flags == "make":
        verbs = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        for verb in re.findall(r"\bmake ([a-z-]+)", block.text):
            assert verb in verbs
        return
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", localised(block.text, demo)],
        cwd=tmp_path,
        env=environment(demo),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("python"), ids=ident)
def test_python_blocks_run(block: Block, demo: Running, tmp_path: Path) -> None:
    """Scripts end without an error."""
    script = tmp_path / "block.py"
    script.write_text(localised(block.text, demo))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env=environment(demo),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("javascript"), ids=ident)
@pytest.mark.node
def test_javascript_blocks_run(block: Block, demo: Running) -> None:
    """Modules end without an error in Node.js."""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", localised(block.text, demo)],
        cwd=NODE,
        env=environment(demo),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("sql"), ids=ident)
@pytest.mark.engine
def test_sql_blocks_answer(block: Block, demo: Running) -> None:
    """Queries run; where the docs print the answer, it is the answer."""
    printed = demo.run("query", block.text, "--format", "PrettyCompactMonoBlock").stdout
    assert printed.strip(), f"{block.where} has an empty answer on the demo's data"
    if block.following and "any" not in block.flags:
        assert [line.strip() for line in printed.strip().splitlines()] == [
            line.strip() for line in block.following.strip().splitlines()
        ]


@pytest.mark.parametrize("block", [b for b in blocks("yaml") if "workspace:" in b.text], ids=ident)
def test_workspaces_of_the_docs_are_valid(block: Block, tmp_path: Path) -> None:
    """`headwater check` accepts them."""
    file = tmp_path / "headwater.yaml"
    file.write_text(block.text)
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+)", block.text), "secret")
    done = subprocess.run(
        [sys.executable, "-m", "headwater", "check", "--workspace", str(file)],
        cwd=ROOT,
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
