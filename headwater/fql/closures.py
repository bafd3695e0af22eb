"""A tree into nested functions: everything that does not depend on the event is decided here, once.

A *value* is a function from the event to a decoded JSON value, a *condition* one to True or False. Common shapes (a
path against a constant) get a function of their own: a typical filter costs well below two microseconds.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from headwater.fql import glob
from headwater.fql.functions import FUNCTIONS
from headwater.fql.nodes import And, Call, Compare, ListOf, Literal, Node, Not, Or, Path

Event = Mapping[str, Any]
Value = Callable[[Event], Any]
Condition = Callable[[Event], bool]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


def condition(node: Node) -> Condition:
    """The function that says whether a node is exactly true."""
    match node:
        case And(operands):
            return _all([condition(one) for one in operands])
        case Or(operands):
            return _any([condition(one) for one in operands])
        case Not(operand):
            inner = condition(operand)
            return lambda event: not inner(event)
        case Compare(symbol, left, right):
            return _comparison(symbol, left, right)
        case _:
            get = value(node)
            return lambda event: get(event) is True


def value(node: Node) -> Value:
    """The function that computes a node."""
    match node:
        case Literal(constant):
            return lambda _: constant
        case Path(parts):
            return _path(parts)
        case ListOf(items):
            values = [value(item) for item in items]
            return lambda event: [get(event) for get in values]
        case Call(function, arguments):
            return _call(function, arguments)
        case _:
            return condition(node)


def _call(function: str, arguments: tuple[Node, ...]) -> Value:
    match function, arguments:
        case "match", (subject, Literal(str() as pattern)):
            return _match(value(subject), glob.compile(pattern))
        case _, (only,):
            call, single = FUNCTIONS[function].call, value(only)
            return lambda event: call(single(event))
        case _:
            call, first, second = FUNCTIONS[function].call, *(value(one) for one in arguments)
            return lambda event: call(first(event), second(event))


def _all(operands: list[Condition]) -> Condition:
    if len(operands) == 2:
        first, second = operands
        return lambda event: first(event) and second(event)

    def every(event: Event) -> bool:
        for one in operands:  # noqa: SIM110 - a generator expression costs twice the time
            if not one(event):
                return False
        return True

    return every


def _any(operands: list[Condition]) -> Condition:
    if len(operands) == 2:
        first, second = operands
        return lambda event: first(event) or second(event)

    def some(event: Event) -> bool:
        for one in operands:  # noqa: SIM110 - a generator expression costs twice the time
            if one(event):
                return True
        return False

    return some


def _path(parts: tuple[str | int, ...]) -> Value:
    if any(isinstance(part, int) or part.isdigit() for part in parts):
        return lambda event: _walk(event, parts)
    first, *rest = (str(part) for part in parts)
    if not rest:
        return lambda event: event.get(first)
    if len(rest) == 1:
        last = rest[0]

        def two(event: Event) -> Any:
            inner = event.get(first)
            return inner.get(last) if type(inner) is dict else None

        return two

    def many(event: Event) -> Any:
        inner = event.get(first)
        for part in rest:
            if type(inner) is not dict:
                return None
            inner = inner.get(part)
        return inner

    return many


def _walk(event: Event, parts: tuple[str | int, ...]) -> Any:
    """A path with positions: `products[0]` or `products.0` is the first element of a list."""
    inner: Any = event
    for part in parts:
        if type(inner) is list:
            text = str(part)
            index = int(text) if text.isdecimal() and len(text) < 10 else len(inner)
            inner = inner[index] if index < len(inner) else None
        elif isinstance(inner, Mapping):
            inner = inner.get(str(part))
        else:
            return None
    return inner


def _match(subject: Value, matches: glob.Matcher) -> Condition:
    def test(event: Event) -> bool:
        text = subject(event)
        return type(text) is str and matches(text)

    return test


def _comparison(symbol: str, left: Node, right: Node) -> Condition:
    if symbol == "in":
        return _membership(value(left), right)
    if symbol in _ORDER:
        return _ordering(_ORDER[symbol], left, right)
    equal = _equality(left, right)
    return equal if symbol == "=" else lambda event: not equal(event)


def _equality(left: Node, right: Node) -> Condition:
    if isinstance(left, Literal):
        left, right = right, left
    get = value(left)
    if isinstance(right, Literal) and type(right.value) is str:
        text = right.value  # a string equals nothing but a string: Python's own == is exact
        return lambda event: bool(get(event) == text)
    other = value(right)
    return lambda event: same(get(event), other(event))


def _ordering(compare: Callable[[Any, Any], bool], left: Node, right: Node) -> Condition:
    get = value(left)
    if isinstance(right, Literal) and type(right.value) in (int, float):
        limit = right.value

        def against_constant(event: Event) -> bool:
            found = get(event)
            return (type(found) is int or type(found) is float) and compare(found, limit)

        return against_constant
    other = value(right)

    def test(event: Event) -> bool:
        first, second = get(event), other(event)
        return type(first) in (int, float) and type(second) in (int, float) and compare(first, second)

    return test


def _membership(get: Value, right: Node) -> Condition:
    if isinstance(right, ListOf) and all(
        isinstance(item, Literal) and type(item.value) is str for item in right.items
    ):
        names = frozenset(item.value for item in right.items if isinstance(item, Literal))

        def among_constants(event: Event) -> bool:
            found = get(event)
            return type(found) is str and found in names

        return among_constants
    listing = value(right)

    def test(event: Event) -> bool:
        found, items = get(event), listing(event)
        return type(items) is list and any(same(found, item) for item in items)

    return test


def same(left: Any, right: Any) -> bool:
    """Equal and of the same type, all the way down: true is not 1, but 1 is 1.0. Needs no recursion."""
    waiting = [(left, right)]
    while waiting:
        one, other = waiting.pop()
        if type(one) is list and type(other) is list and len(one) == len(other):
            waiting.extend(zip(one, other, strict=True))
        elif type(one) is dict and type(other) is dict and one.keys() == other.keys():
            waiting.extend((one[key], other[key]) for key in one)
        elif not _same_scalar(one, other):
            return False
    return True


def _same_scalar(one: Any, other: Any) -> bool:
    if type(one) in (list, dict) or type(other) in (list, dict):
        return False  # of equal shape they were taken apart above
    return (type(one) is bool) == (type(other) is bool) and bool(one == other)
