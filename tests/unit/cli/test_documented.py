"""docs/operator/cli.md names every command, argument, option, environment variable and exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from headwater.cli.app import app
from headwater.run import exits

DOC = (Path(__file__).parents[3] / "docs" / "operator" / "cli.md").read_text()


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Each command with its full name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for key, value in inner.items():
        yield from commands(value, f"{name} {key}")


ALL = dict(commands(typer.main.get_command(app), "headwater"))


def section(name: str) -> str:
    """What the page says of one command."""
    lines = DOC.split("\n### ")
    return next((text for text in lines if text.startswith((f"`{name}`", f"`{name} "))), "")


@pytest.mark.parametrize("name", ALL)
def test_a_command_is_documented_with_all_it_takes(name: str) -> None:
    """Its section exists and holds every argument and option; shared options also stand in the shared table."""
    text = section(name)
    assert text, f"no section for `{name}`"
    for parameter in ALL[name].params:
        if parameter.param_type_name == "argument":
            assert parameter.name.upper().rstrip("_") in text
            continue
        assert f"`{parameter.opts[0]}`" in text, f"{name} {parameter.opts[0]}"
        if parameter.envvar:
            assert f"`{parameter.envvar}`" in DOC
        assert parameter.help, f"{name} {parameter.opts[0]} has no help"


def test_nothing_is_documented_that_does_not_exist() -> None:
    """A section for a command that is gone misleads."""
    found = {text.split("`")[1] for text in DOC.split("\n### ")[1:]}
    assert {name for name in found if not any(name == n or name.startswith(f"{n} ") for n in ALL)} == set()


def test_every_exit_code_is_documented_with_its_meaning() -> None:
    """The table is the list in headwater.run.exits."""
    for code, meaning in exits.MEANINGS.items():
        assert f"| {code} | {meaning} |" in DOC
