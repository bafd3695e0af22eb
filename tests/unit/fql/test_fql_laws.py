"""The filter language against a second evaluator that shares nothing with it.

The other evaluator has no parser: it rewrites a filter's text, piece by piece, into a Python expression over `V`, whose
operators follow Segment's reference, and lets Python's own grammar decide what binds to what.
"""

from __future__ import annotations

import math
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater import fql

KEYS = ("type", "userId", "properties", "traits", "total", "plan", "list", "deep")
WORDS = ("track", "page", "Pro Plan", "", "ア*", "10", "true")
GLOBS = ("*", "?", "t*k", "[a-t]rack", "Pro*", "*a*", "", "[^p]*", "1?", "p\\*")


class V:
    """A value with FQL's operators."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def __bool__(self) -> bool:
        return self.raw is True

    def __eq__(self, other: object) -> Any:
        assert isinstance(other, V)
        return V(typed(self.raw) == typed(other.raw))

    def __ne__(self, other: object) -> Any:
        return V(not (self == other))

    def __hash__(self) -> int:
        return 0

    def __lt__(self, other: V) -> V:
        return V(numeric(self, other) and self.raw < other.raw)

    def __le__(self, other: V) -> V:
        return V(numeric(self, other) and self.raw <= other.raw)

    def __gt__(self, other: V) -> V:
        return V(numeric(self, other) and self.raw > other.raw)

    def __ge__(self, other: V) -> V:
        return V(numeric(self, other) and self.raw >= other.raw)

    def __contains__(self, item: V) -> bool:
        return isinstance(self.raw, list) and any(typed(item.raw) == typed(one) for one in self.raw)


def numeric(*values: V) -> bool:
    """Whether all are numbers; in Python a bool is one, in JSON it is not."""
    return all(isinstance(one.raw, int | float) and not isinstance(one.raw, bool) for one in values)


def typed(raw: Any) -> Any:
    """The value with its JSON type beside it, so that Python's == becomes strict."""
    if isinstance(raw, list):
        return ("list", [typed(one) for one in raw])
    if isinstance(raw, dict):
        return ("object", {key: typed(one) for key, one in raw.items()})
    return (
        "number" if isinstance(raw, float) else {"int": "number"}.get(type(raw).__name__, type(raw).__name__),
        raw,
    )


def glob(pattern: str, text: str) -> bool:
    """Glob by the definition: every way a star may be read is tried."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(glob(pattern[1:], text[skip:]) for skip in range(len(text) + 1))
    if not text:
        return False
    if pattern[0] == "[":
        inside, rest = pattern[1:].split("]", 1)
        negated, inside = inside.startswith("^"), inside.removeprefix("^")
        singles = re.sub(
            r"(.)-(.)", lambda pair: "".join(map(chr, range(ord(pair[1]), ord(pair[2]) + 1))), inside
        )
        return (text[0] in singles) != negated and glob(rest, text[1:])
    if pattern[0] == "\\":
        return pattern[1] == text[0] and glob(pattern[2:], text[1:])
    return pattern[0] in ("?", text[0]) and glob(pattern[1:], text[1:])


def on_string(change: Any) -> Any:
    """A function of strings that maps everything else to null."""
    return lambda one: V(change(one.raw) if isinstance(one.raw, str) else None)


def spelled_number(raw: Any) -> Any:
    """What `number` answers."""
    if isinstance(raw, str):
        try:
            return float(raw) if math.isfinite(float(raw)) else None
        except ValueError:
            return None
    return raw if isinstance(raw, int | float) and not isinstance(raw, bool) else None


def text_of(raw: Any) -> Any:
    """What `string` answers for scalars."""
    if raw is None:
        return ""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return raw if isinstance(raw, str) else str(int(raw) if raw == int(raw) else raw)


FUNCTIONS: dict[str, Any] = {
    "contains": lambda a, b: V(isinstance(a.raw, str) and isinstance(b.raw, str) and b.raw in a.raw),
    "match": lambda a, b: V(isinstance(a.raw, str) and isinstance(b.raw, str) and glob(b.raw, a.raw)),
    "lowercase": on_string(str.lower),
    "uppercase": on_string(str.upper),
    "snakecase": on_string(lambda s: s.replace(" ", "_")),
    "kebabcase": on_string(lambda s: "-".join(s.split(" "))),
    "titlecase": on_string(lambda s: " ".join(word[:1].upper() + word[1:] for word in s.split(" "))),
    "length": lambda a: V(
        0
        if a.raw is None
        else len(a.raw.encode())
        if isinstance(a.raw, str)
        else len(a.raw)
        if isinstance(a.raw, list)
        else None
    ),
    "typeof": lambda a: V(
        {str: "string", bool: "bool", int: "number", float: "number", list: "list", dict: "object"}.get(
            type(a.raw), "null"
        )
    ),
    "bool": lambda a: V(a.raw not in (None, 0, "", "0", "false", [], {})),
    "number": lambda a: V(spelled_number(a.raw)),
    "string": lambda a: V(text_of(a.raw)),
}

PIECE = re.compile(
    r"""\s+|"[^"]*"|'[^']*'|-?\d+(?:\.\d+)?|[A-Za-z]+(?:\.[A-Za-z0-9]+)*|!=|[<>]=|[=<>!()\[\],]"""
)


def naive(text: str, event: dict[str, Any]) -> bool:
    """The filter's answer by rewriting it into Python."""

    def field(path: str) -> V:
        found: Any = event
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return V(found)

    written = []
    for piece in PIECE.findall(text):
        if piece in ("and", "or", "in", "(", ")", ",", "!=", ">", ">=", "<", "<="):
            written.append(piece)
        elif piece in ("=", "!", "[", "]"):
            written.append({"=": "==", "!": " not ", "[": "L([", "]": "])"}[piece])
        elif piece in FUNCTIONS:
            written.append(f"F[{piece!r}]")
        elif piece in ("true", "false", "null"):
            written.append({"true": "V(True)", "false": "V(False)", "null": "V(None)"}[piece])
        elif piece[0] in "\"'":
            written.append(f"V({piece[1:-1]!r})")
        elif piece[0] in "-0123456789":
            written.append(f"V({piece})")
        elif piece.strip():
            written.append(f"P({piece!r})")
    names = {"V": V, "P": field, "F": FUNCTIONS, "L": lambda items: V([item.raw for item in items])}
    answer = eval(" ".join(written), names)
    return answer is True or (isinstance(answer, V) and answer.raw is True)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(WORDS),
    st.sampled_from([0, 1, -1, 10, 0.5, 10.0, 2**70]),
    st.text("aAb 1ア", max_size=4),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)
events = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)

paths = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(".".join)
literals = st.one_of(
    st.sampled_from(["true", "false", "null", "0", "1", "-1", "10", "0.5"]),
    st.sampled_from(WORDS).map("'{}'".format),
)
atoms = st.one_of(paths, literals)
lists = st.lists(atoms, max_size=3).map(lambda items: f"[{', '.join(items)}]")
unary = st.sampled_from(
    ["lowercase", "uppercase", "snakecase", "kebabcase", "titlecase", "length", "typeof", "bool", "number"]
)
calls = st.one_of(
    st.tuples(unary, st.one_of(atoms, lists)).map(lambda call: f"{call[0]}({call[1]})"),
    literals.map("string({})".format),
    st.tuples(unary, unary, paths).map(lambda call: f"{call[0]}({call[1]}({call[2]}))"),
    st.tuples(atoms, atoms).map(lambda pair: f"contains({pair[0]},{pair[1]})"),
    st.tuples(atoms, st.sampled_from(GLOBS)).map(lambda pair: f'match({pair[0]}, "{pair[1]}")'),
)
operands = st.one_of(atoms, atoms, calls)
comparisons = st.one_of(
    operands,
    st.tuples(operands, st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), st.one_of(operands, lists)).map(
        " ".join
    ),
    st.tuples(operands, st.one_of(lists, paths)).map(lambda pair: f"{pair[0]} in {pair[1]}"),
)
filters = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.lists(st.one_of(inner, inner.map("!{}".format)), min_size=2, max_size=4).flatmap(
            lambda parts: st.lists(
                st.sampled_from([" and ", " or "]), min_size=len(parts) - 1, max_size=len(parts) - 1
            ).map(lambda joins: "".join(part + join for part, join in zip(parts, [*joins, ""], strict=True)))
        ),
        inner.map("({})".format),
        inner.map("!({})".format),
    ),
    max_leaves=6,
)


@settings(max_examples=1500, deadline=None)
@given(filters, events)
def test_both_evaluators_agree(text: str, event: dict[str, Any]) -> None:
    """For any filter and any event the compiled closures answer what the rewriting evaluator answers."""
    assert fql.compile(text)(event) is naive(text, event)


@settings(max_examples=400, deadline=None)
@given(st.text("ab*?[]^-\\", max_size=8), st.text("ab-]", max_size=8))
def test_globs_match_by_their_definition(pattern: str, text: str) -> None:
    """A pattern that can be read matches exactly what trying every reading of its stars matches."""
    simple = re.fullmatch(r"(?:[ab*?]|\\.|\[\^?(?:[ab](?:-[ab])?)+\])*", pattern)
    if simple:
        event = {"type": text, "name": pattern}
        assert fql.compile("match(type, name)")(event) is glob(pattern, text)
    else:
        assert fql.compile("match(type, name)")({"type": text, "name": pattern}) in (True, False)


@settings(max_examples=600, deadline=None)
@example("1'\n'", {})  # a string that spans lines, where none may stand
@given(st.text("""abin=!<>()[],.'"\\ 1-\n""", max_size=24), events)
def test_any_text_is_a_filter_or_a_clear_error(text: str, event: dict[str, Any]) -> None:
    """Text never makes the parser raise anything else, and a filter never raises at all."""
    wrong = problem(text)
    if wrong is None:
        assert fql.compile(text)(event) in (True, False)
    else:
        assert 1 <= wrong.column <= len(text) + 1
        assert str(wrong).count("\n") == 2


def problem(text: str) -> fql.FqlError | None:
    """What is wrong with a text."""
    try:
        fql.compile(text)
    except fql.FqlError as wrong:
        return wrong
    return None
