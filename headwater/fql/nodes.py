"""The parsed form of a filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, true, false or null."""

    value: Any


@dataclass(frozen=True, slots=True)
class Path:
    """A field of the event; a part is a key of an object or an index into a list."""

    parts: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Two values and the operator between them."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Not:
    """True unless its operand is true."""

    operand: Node


@dataclass(frozen=True, slots=True)
class And:
    """True where every operand is true."""

    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True where at least one operand is true."""

    operands: tuple[Node, ...]


Node = Literal | Path | ListOf | Call | Compare | Not | And | Or


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case And(operands) | Or(operands):
            return operands
        case ListOf(items):
            return items
        case Call(_, arguments):
            return arguments
        case Compare(_, left, right):
            return (left, right)
        case Not(operand):
            return (operand,)
        case _:
            return ()


def paths(node: Node) -> Iterator[Path]:
    """Every path in the tree."""
    if isinstance(node, Path):
        yield node
    for child in children(node):
        yield from paths(child)
