"""Writes the answers of a docs page's queries anew, from a running demo: `python -m tests.docs.write_answers PAGE DIR`.

For when the demo's stream or the schema has changed. Read the difference before committing it: a test only compares the
page with what comes out. Queries flagged `any` get their answer as an example, too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

QUERY = re.compile(r"(^```sql[^\n]*\n(.*?)^```\n)(\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)


def answer(sql: str, folder: str) -> str:
    """The engine's answer as the docs print it."""
    command = ["query", sql, "--format", "PrettyCompactMonoBlock", "--dir", folder]
    done = subprocess.run([sys.executable, "-m", "headwater", *command], stdout=subprocess.PIPE, check=True)
    lines = [line.rstrip() for line in done.stdout.decode().splitlines() if line.strip()]
    return "\n".join(lines)


def rewritten(page: str, folder: str) -> str:
    """The page with a fresh answer behind every query."""

    def fresh(found: re.Match[str]) -> str:
        return f"{found[1]}\n```text\n{answer(found[2], folder)}\n```\n"

    return QUERY.sub(fresh, page)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(rewritten(file.read_text(), sys.argv[2]))
