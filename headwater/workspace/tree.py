"""YAML text as plain values that remember where each of them stood.

Only plain YAML: no tags that make Python objects, no merge keys, no duplicate keys (YAML parsers keep the last one
silently), and dates stay text. Aliases work; a file that unfolds to more than `MAX_NODES` values is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headwater.errors import Problem
from headwater.workspace.secrets import Unresolved, expand

Where = tuple[str | int, ...]
MAX_NODES = 50_000
_CONTAINERS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column (from 1), and a scalar's own text before its references were followed."""

    line: int
    column: int
    text: str | None = None


@dataclass(slots=True)
class Tree:
    """The values of a file, where their keys and values stand, what they referred to, and what was wrong."""

    file: str
    value: Any = None
    keys: dict[Where, Place] = field(default_factory=dict)
    values: dict[Where, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unresolved: set[Where] = field(default_factory=set)
    elsewhere: set[Where] = field(
        default_factory=set
    )  # values that came, at least in part, from outside the file
    secrets: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def problem(self, place: Place | None, message: str) -> None:
        """Note something wrong at a place."""
        line, column = (place.line, place.column) if place else (1, 1)
        self.problems.append(Problem(message, self.file, line, column))

    def place(self, where: Where) -> Place | None:
        """The value at `where`, or the nearest thing above it that the file holds."""
        for length in range(len(where), 0, -1):
            if found := self.values.get(where[:length]) or self.keys.get(where[:length]):
                return found
        return self.values.get(())


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without dates: `2026-01-02` is text here, as it is in events."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str, file: str, environ: Mapping[str, str], folder: Path) -> Tree:
    """Read YAML and follow its references; everything wrong is in `Tree.problems`."""
    tree = Tree(file)
    loader: _PlainLoader | None = None
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        if node is not None:
            tree.value = _Reader(tree, loader, environ, folder).read(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else None
        tree.problem(place, f"this is not YAML: {error.problem or error.context}{_hint(text, mark)}")
    except yaml.reader.ReaderError as error:
        tree.problem(None, f"this is not YAML: character #x{error.character:04x} is not allowed")
    except RecursionError:
        tree.problem(None, "the file is nested too deeply; write plain YAML")
    finally:
        if loader is not None:
            loader.dispose()
    return tree


def _hint(text: str, mark: yaml.Mark | None) -> str:
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if line.lstrip(" ").startswith("\t"):
        return "; indent with spaces, YAML takes no tabs"
    return '; put references in quotes: "${NAME}"' if "${" in line else ""


class _Reader:
    def __init__(self, tree: Tree, loader: _PlainLoader, environ: Mapping[str, str], folder: Path) -> None:
        self.tree, self.loader, self.environ, self.folder = tree, loader, environ, folder
        self.nodes = 0
        self.open: set[int] = set()

    def read(self, node: yaml.Node, where: Where) -> Any:
        self.nodes += 1
        place = _place(node)
        if self.nodes == MAX_NODES + 1:
            self.tree.problem(place, f"the file unfolds to more than {MAX_NODES} values")
        if self.nodes > MAX_NODES:
            return None
        if id(node) in self.open:
            self.tree.problem(place, "an alias that contains itself")
            return None
        self.tree.values[where] = place
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _CONTAINERS:
            self.tree.problem(place, f"the tag {node.tag!r} is not supported; write plain YAML")
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, where)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(child, (*where, index)) for index, child in enumerate(node.value)]
            return self._scalar(node, where, place)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.tree.problem(place, "a key must be a word")
                continue
            key: str = key_node.value
            if key == "<<":
                self.tree.problem(place, "merge keys (<<) are not supported; write the keys out")
            elif key in result:
                first = self.tree.keys[(*where, key)]
                self.tree.problem(
                    place, f"{dotted((*where, key))} is written twice, first on line {first.line}"
                )
            else:
                self.tree.keys[(*where, key)] = place
                result[key] = self.read(value_node, (*where, key))
        return result

    def _scalar(self, node: yaml.Node, where: Where, place: Place) -> Any:
        try:
            value = self.loader.construct_object(node)
        except (yaml.constructor.ConstructorError, ValueError) as error:
            reason = error.problem if isinstance(error, yaml.constructor.ConstructorError) else error
            self.tree.problem(place, f"{dotted(where)}: {reason}")
            self.tree.unresolved.add(where)
            return None
        if not isinstance(value, str):
            return value
        try:
            expansion = expand(value, self.environ, self.folder)
        except Unresolved as error:
            self.tree.problem(place, f"{dotted(where)}: {error}")
            self.tree.unresolved.add(where)
            return value
        self.tree.secrets.update(expansion.secrets)
        if expansion.secrets:
            self.tree.elsewhere.add(where)
        if expansion.file is not None:
            self.tree.files.add(expansion.file)
        return expansion.value


def _place(node: yaml.Node) -> Place:
    mark = node.start_mark
    return Place(mark.line + 1, mark.column + 1, node.value if isinstance(node, yaml.ScalarNode) else None)


def dotted(where: Where) -> str:
    """`("sources", "web", "write_keys", 0)` as `sources.web.write_keys[0]`."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
