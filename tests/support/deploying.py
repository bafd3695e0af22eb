"""What is in deploy/, read as the tools read it, and judged by the code that will run there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import typer.main

from destinations.kit.registry import secrets_in, validate_destination
from headwater.cli.app import app
from headwater.workspace.load import load
from headwater.workspace.model import Workspace

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent


def tool(
    name: str, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool of the development environment."""
    command = [str(BIN / name), *arguments]
    return subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def command_line(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The command that the real command line makes of it, and its parameters. Raises where an option does not exist."""
    with mock.patch.dict(os.environ, environ, clear=True):
        command: Any = typer.main.get_command(app)
        context = command.make_context("headwater", list(arguments))
        while hasattr(command, "commands"):
            name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            context = command.make_context(name, rest, parent=context)
    return context.command_path.removeprefix("headwater "), context.params


def workspace(file: Path, environ: Mapping[str, str]) -> Workspace:
    """The workspace, loaded as production loads it. Raises ConfigError with every problem."""
    return load(file, validate_destination, environ, secrets_in).workspace


def variables() -> set[str]:
    """Every environment variable that an option of the command line reads."""

    def of(command: Any) -> set[str]:
        found = {parameter.envvar for parameter in command.params if parameter.envvar}
        return found.union(*map(of, getattr(command, "commands", {}).values()))

    return of(typer.main.get_command(app))


def dockerfile() -> list[tuple[str, str]]:
    """Instruction and arguments, lines joined and comments left out."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def image_environment() -> dict[str, str]:
    """What ENV of the last stage sets."""
    last = max(index for index, (word, _) in enumerate(dockerfile()) if word == "FROM")
    told = [rest for word, rest in dockerfile()[last:] if word == "ENV"]
    return dict(pair.split("=", 1) for rest in told for pair in shlex.split(rest))
