"""docs/operator/workspace.md names every setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from headwater.workspace.explain import models
from headwater.workspace.model import Connection, Destination, Source, Workspace

DOC = (Path(__file__).parents[3] / "docs" / "operator" / "workspace.md").read_text()


def settings(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Every key of a section and of those inside it, dotted."""
    for name, found in model.model_fields.items():
        key = f"{prefix}{found.alias or name}"
        sections = models(found.annotation)
        for section in sections:
            yield from settings(section, f"{key}.")
        if not sections:
            yield key


ALL = list(
    dict.fromkeys(
        [
            *settings(Workspace, ""),
            *settings(Source, "sources.NAME."),
            *settings(Destination, "destinations.NAME."),
            *settings(Connection, "connections[]."),
        ]
    )
)


@pytest.mark.parametrize("key", ALL)
def test_a_setting_is_documented_with_its_meaning(key: str) -> None:
    """Its row of the table has value, default and meaning."""
    rows = [line for line in DOC.splitlines() if line.startswith(f"| `{key}` |")]
    assert len(rows) == 1, f"{key}: {len(rows)} rows"
    assert all(cell.strip() for cell in rows[0].strip("|").split(" | ")), rows[0]


def test_no_setting_is_documented_that_does_not_exist() -> None:
    """A row for a setting that is gone misleads."""
    found = {
        line.split("`")[1] for line in DOC.splitlines() if line.startswith("| `") and line.count("|") == 5
    }
    assert found - set(ALL) == set()
