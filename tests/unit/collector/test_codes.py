"""The codes the collector answers with: declared once, documented, and used."""

from __future__ import annotations

import re
from pathlib import Path

from collector.codes import REFUSALS, REJECTIONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "developer" / "answers.md").read_text()


def test_the_page_lists_every_refusal_with_its_status_and_meaning() -> None:
    """Neither more nor fewer, and whether to send again."""
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.*) \| (yes|no) \|$", PAGE, re.MULTILINE)
    declared = [
        (str(one.status), code, one.meaning, "yes" if one.retry else "no") for code, one in REFUSALS.items()
    ]
    assert rows == declared


def test_the_page_lists_every_rejection_with_its_meaning() -> None:
    """Neither more nor fewer."""
    table = PAGE.split("## Every code of a rejected event")[1]
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE) == list(REJECTIONS.items())


def test_every_declared_code_is_used_by_the_collector() -> None:
    """A code that nothing gives would be a promise without meaning."""
    sources = [path for path in (ROOT / "collector").rglob("*.py") if path.name != "codes.py"]
    text = "\n".join(path.read_text() for path in sources)
    assert [code for code in (*REFUSALS, *REJECTIONS) if f'"{code}"' not in text] == []


def test_doctor_and_the_pages_ask_for_the_code_that_is_counted() -> None:
    """Unknown keys are counted as `unknown_source`; whoever looks for them must look there."""
    asking = ("headwater/run/diagnose.py", "docs/operator/metrics.md", "docs/operator/troubleshooting.md")
    for name in asking:
        text = (ROOT / name).read_text()
        assert 'code="unknown_source"' in text, name
        assert 'code="unknown_write_key"' not in text, name
