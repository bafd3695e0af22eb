"""The page docs/developer/filters.md: every example on it is run, and it lists every function."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from headwater import fql
from headwater.fql.functions import FUNCTIONS
from headwater.workspace.model import Destination

PAGE = (Path(__file__).parents[3] / "docs/developer/filters.md").read_text()
EVENT = json.loads(re.findall(r"```json event\n(.*?)```", PAGE, re.DOTALL)[0])
EXAMPLES = re.findall(r"^\| `(.+?)` \| `(true|false)` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("text", "answer"), EXAMPLES)
def test_an_example_answers_what_the_page_says(text: str, answer: str) -> None:
    """Each row of the page's tables, against the page's event."""
    assert fql.compile(text)(EVENT) is (answer == "true")


def test_the_page_has_its_examples() -> None:
    """The tables are found at all."""
    assert len(EXAMPLES) > 40


def test_the_error_shown_is_the_error_raised() -> None:
    """The sample of an error is what the parser says, to the letter."""
    text, shown = re.findall(r"```text fql-error\n(.*?)\n(.*?)\n```", PAGE, re.DOTALL)[0]
    with pytest.raises(fql.FqlError) as caught:
        fql.compile(text)
    assert str(caught.value) == shown


def test_the_workspace_example_is_a_destination_with_a_filter() -> None:
    """The YAML on the page is accepted by the workspace model, and its filter by the parser."""
    import yaml

    block = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    destination = Destination.model_validate(block["destinations"]["sales"])
    assert destination.filter is not None
    assert fql.compile(destination.filter)(EVENT) is True


def test_every_function_is_on_the_page() -> None:
    """The table of functions is the code's own list, in its order and words."""
    rows = re.findall(r"^\| `(\w+)\(([^`]*?)\)` \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (name, ", ".join(function.parameters), function.summary) for name, function in FUNCTIONS.items()
    ]
