"""Every relative link of the project's pages leads to a file, and to a heading of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]*))?\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """All Markdown files that are under version control."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    return [ROOT / name for name in found.split("\0") if name]


def headings(page: Path) -> set[str]:
    """The anchors that a page has, as code hosts make them of its headings."""
    titles = re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files exist; a part behind # is a heading of the page."""
    for name, anchor in LINK.findall(FENCE.sub("", page.read_text())):
        target = (page.parent / name) if name else page
        assert target.exists(), f"{name} does not exist"
        assert not anchor or anchor in headings(target), (
            f"{name}#{anchor}: there is {sorted(headings(target))}"
        )
