"""docs/operator/deploy.md names what there is to set, and shows values that the chart takes."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.deploy.chart import CHART, output
from tests.support.deploying import DEPLOY, ROOT

PAGE = (ROOT / "docs" / "operator" / "deploy.md").read_text()


def rows() -> set[str]:
    """Everything in backticks in the first column of a table."""
    firsts = re.findall(r"^\| ([^|]+) \|", PAGE, re.MULTILINE)
    return {name for first in firsts for name in re.findall(r"`([^`]+)`", first)}


def test_every_value_of_the_chart_has_its_row() -> None:
    """The top of values.yaml, and of the schema."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert set(values) - rows() == set()
    assert set(schema["properties"]) - {"global"} == set(values)


def test_every_variable_of_the_example_has_its_row() -> None:
    """What Compose asks for."""
    text = (DEPLOY / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=", text, re.MULTILINE)) - rows() == set()


def test_the_values_shown_are_taken_by_the_chart() -> None:
    """They are rendered with the other sets."""
    assert output()["sets"]["the page"].keys() == {"files"}


@pytest.mark.parametrize(
    "unit", sorted(path.name for path in (DEPLOY / "systemd").glob("headwater-*.service"))
)
def test_every_unit_is_named(unit: str) -> None:
    """With a link to the file."""
    assert f"(../../deploy/systemd/{unit})" in PAGE
