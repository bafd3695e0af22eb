"""headwater.yaml from disk to a checked `Workspace`; every problem at once, each with file, line and column.

This layer may not know destinations: their options are checked by functions that the caller passes in
(`destinations.kit.registry`): one names the option's path and what is wrong with it, one tells which options are secrets.
Secrets stand in variables or files of their own, never in this file, which people share and put under version control.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from headwater import fql
from headwater.errors import ConfigError, Problem
from headwater.workspace.explain import explain, suggestion
from headwater.workspace.model import Workspace
from headwater.workspace.tree import Tree, Where, dotted, parse

FILE_BYTES = 4 << 20


class OptionProblem(Protocol):
    """What a destination says about its options; `path` is inside the destination's own mapping."""

    @property
    def path(self) -> tuple[str | int, ...]:
        """Where in the options, outermost key first; () for the whole mapping."""
        ...

    @property
    def message(self) -> str:
        """What is wrong, without the value (it may be a secret)."""
        ...


ValidateDestination = Callable[[str, Mapping[str, Any]], Sequence[OptionProblem]]
SecretOptions = Callable[[str, Mapping[str, Any]], Iterable[tuple[str | int, ...]]]
_LOG_SECRETS: Mapping[Where, str] = {
    ("log", "sasl", "password"): "KAFKA_PASSWORD",
    ("log", "sasl", "client_secret"): "KAFKA_CLIENT_SECRET",
    ("log", "tls", "key_password"): "KAFKA_KEY_PASSWORD",
}
COMMON = ("type", "enabled", "filter")  # keys of a destination that are not its type's options


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid workspace, its text, the files it was made of, and the strings that may never be shown."""

    workspace: Workspace
    file: Path
    text: str
    references: frozenset[Path]
    secrets: frozenset[str]


def load(
    file: Path,
    validate_destination: ValidateDestination | None = None,
    environ: Mapping[str, str] = os.environ,
    secret_options: SecretOptions | None = None,
) -> Loaded:
    """Read and check the file. Raises ConfigError with every problem found."""
    try:
        content = file.read_bytes()
    except OSError as error:
        hint = "; `headwater init` writes one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(
            [Problem(f"cannot read the workspace: {error.strerror}{hint}", str(file))]
        ) from None
    if len(content) > FILE_BYTES:
        raise ConfigError(
            [Problem(f"the workspace has {len(content)} bytes; at most {FILE_BYTES}", str(file))]
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem("the workspace is not UTF-8 text", str(file), line, 1)]) from None
    return loads(text, file, validate_destination, environ, secret_options)


def loads(
    text: str,
    file: Path,
    validate_destination: ValidateDestination | None = None,
    environ: Mapping[str, str] = os.environ,
    secret_options: SecretOptions | None = None,
) -> Loaded:
    """Check the text of a workspace; `file` names it in messages and anchors `file:` references. Raises ConfigError."""
    tree = parse(text, str(file), environ, file.absolute().parent)
    if tree.value is None and not tree.problems:
        tree.problem(None, "the workspace is empty; `headwater init` writes one to start from")
    if tree.problems and tree.value is None:
        raise ConfigError(tree.problems)
    workspace = _validate(tree)
    _check_destinations(tree, validate_destination)
    _check_secrets(tree, secret_options)
    if tree.problems or workspace is None:
        raise ConfigError(sorted(tree.problems, key=lambda problem: (problem.line, problem.column)))
    keys = {key for source in workspace.sources.values() for key in source.write_keys}
    return Loaded(workspace, file, text, frozenset(tree.files), frozenset(tree.secrets | keys))


def _validate(tree: Tree) -> Workspace | None:
    before = len(tree.problems)
    _check_write_keys(tree)
    _check_connections(tree)
    found_here = len(tree.problems) > before
    try:
        return Workspace.model_validate(tree.value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        if found_here:  # the model's own cross-checks say the same without a place
            details = [
                d for d in details if not (d["type"] == "value_error" and d["loc"] in ((), ("sources",)))
            ]
        explain(tree, Workspace, details)
        return None


def _mapping(tree: Tree, *where: str) -> dict[str, Any]:
    here = tree.value
    for step in where:
        here = here.get(step) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else {}


def _check_write_keys(tree: Tree) -> None:
    owner: dict[str, Where] = {}
    for where, key in _write_keys(tree):
        if where in tree.unresolved:
            continue
        if not key.strip():
            tree.problem(tree.place(where), f"{dotted(where)}: the write key is empty")
        elif (first := owner.setdefault(key, where)) != where:
            place = tree.place(first)
            line = f" (line {place.line})" if place else ""
            message = f"{dotted(where)}: duplicate write key, {dotted(first)}{line} has it too; each key names one source"
            tree.problem(tree.place(where), message)


def _write_keys(tree: Tree) -> Iterator[tuple[Where, str]]:
    for name, source in _mapping(tree, "sources").items():
        keys = source.get("write_keys") if isinstance(source, dict) else None
        for index, key in enumerate(keys if isinstance(keys, list) else ()):
            if isinstance(key, str):
                yield ("sources", name, "write_keys", index), key


def _check_connections(tree: Tree) -> None:
    connections = _mapping(tree).get("connections")
    for index, connection in enumerate(connections if isinstance(connections, list) else ()):
        for side, section in (("from", "sources"), ("to", "destinations")):
            names = connection.get(side) if isinstance(connection, dict) else None
            known = list(_mapping(tree, section))
            for position, name in enumerate(names if isinstance(names, list) else ()):
                if isinstance(name, str) and name not in known:
                    where = ("connections", index, side, position)
                    listed = ", ".join(known) or "none"
                    message = f"no {section[:-1]} {name!r}{suggestion(name, known)}; {section}: {listed}"
                    tree.problem(tree.place(where), f"{dotted(where)}: {message}")


def _check_destinations(tree: Tree, validate: ValidateDestination | None) -> None:
    for name, settings in _mapping(tree, "destinations").items():
        if not isinstance(settings, dict):
            continue
        where: Where = ("destinations", name)
        _check_filter(tree, (*where, "filter"), settings.get("filter"))
        if validate is None or not isinstance(settings.get("type"), str):
            continue
        options = {key: value for key, value in settings.items() if key not in COMMON}
        for problem in validate(settings["type"], options):
            inside = (*where, *problem.path)
            if inside not in tree.unresolved:
                place = tree.keys.get(inside) or tree.place(inside)
                tree.problem(place, f"{dotted(inside)}: {problem.message}")


def _check_secrets(tree: Tree, secret_options: SecretOptions | None) -> None:
    """Refuse secrets that are spelled out, without repeating them."""
    for place, variable in _LOG_SECRETS.items():
        if place in tree.values:
            _refuse_literal(tree, place, variable)
    for name, settings in _mapping(tree, "destinations").items():
        if (
            secret_options is None
            or not isinstance(settings, dict)
            or not isinstance(settings.get("type"), str)
        ):
            continue
        options = {key: value for key, value in settings.items() if key not in COMMON}
        for path in secret_options(settings["type"], options):
            where: Where = ("destinations", name, *path)
            _refuse_literal(tree, where, re.sub(r"\W", "_", f"{name}_{path[-1]}").upper())


def _refuse_literal(tree: Tree, where: Where, variable: str) -> None:
    if where in tree.elsewhere or where in tree.unresolved:
        return
    message = (
        f'a secret may not stand in this file; write "${{{variable}}}" and set that variable, or "file:PATH"'
    )
    tree.problem(tree.place(where), f"{dotted(where)}: {message}")


def _check_filter(tree: Tree, where: Where, text: object) -> None:
    if not isinstance(text, str) or where in tree.unresolved:
        return
    try:
        fql.compile(text)
    except fql.FqlError as error:
        tree.problem(tree.place(where), f"{dotted(where)}: {error}")
