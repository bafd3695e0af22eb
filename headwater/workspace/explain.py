"""Pydantic's findings as sentences a person can act on: place, expectation, what was received, the nearest name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from headwater.workspace.tree import Tree, Where, dotted

_SHOWN_CHARS = 60
_SECRET_KEYS = frozenset({"write_keys", "password", "client_secret", "key_password"})
_PLAIN = {  # pydantic's words for these are Python's
    "list_type": "expected a list, as in [a, b]",
    "tuple_type": "expected a list, as in [a, b]",
    "dict_type": "expected a mapping, as in {key: value}",
    "model_type": "expected a mapping, as in {key: value}",
    "string_type": "expected text",
}


def suggestion(word: object, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known name is near, else nothing."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def explain(tree: Tree, model: type[BaseModel], errors: Sequence[ErrorDetails]) -> None:
    """Add a problem for each error, one for each place."""
    told: set[tuple[Where, str]] = set()
    for error in errors:
        loc, kind = untagged(tree, model, error["loc"]), error["type"]
        where = _in_file(tree, loc)
        if where in tree.unresolved or (where, kind) in told:
            continue
        told.add((where, kind))
        if kind == "extra_forbidden":
            _unknown_key(tree, model, where)
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            _wrong_kind(tree, where, error)
        elif loc and loc[-1] == "[key]":
            _bad_name(tree, where)
        elif kind == "missing":
            _missing(tree, model, (*where, *loc[len(where) :]))
        else:
            tree.problem(tree.place(where), f"{_at(where)}{_expected(error)}{_received(tree, where, error)}")


def untagged(tree: Tree, model: type[BaseModel], loc: Where) -> Where:
    """Pydantic's location without the names of the union's branches that it puts in between."""
    where: Where = ()
    branched: Where | None = (
        None  # where a branch was named already: what follows is a key, be it there or missing
    )
    for step in loc:
        inside = (*where, step)
        there = inside in tree.keys or inside in tree.values
        if there or where == branched or len(_kinds_at(tree, model, where)) < 2:
            where = inside
        else:
            branched = where
    return where


def _kinds_at(tree: Tree, model: type[BaseModel], where: Where) -> list[type[BaseModel]]:
    """The sections that may stand at `where`; several where a key such as `type` decides."""
    if not where:
        return [model]
    section = section_at(model, where[:-1], tree.value)
    found = None if section is None else _field(section, where[-1])
    return [] if found is None else models(found.annotation)


def _wrong_kind(tree: Tree, where: Where, error: ErrorDetails) -> None:
    """A section whose kind is unknown or not given."""
    context = error.get("ctx", {})
    key = "type" if where == ("log",) else str(context.get("discriminator", "")).strip("'")
    if error["type"] == "union_tag_not_found":
        tree.problem(tree.keys.get(where) or tree.place(where), f"{_at(where)}the key {key!r} is missing")
        return
    expected, tag = str(context.get("expected_tags", "")), str(context.get("tag", ""))
    near = suggestion(tag, [part.strip(" '") for part in expected.split(",")])
    inside = (*where, key)
    tree.problem(tree.place(inside), f"{dotted(inside)}: expected one of {expected}, received {tag!r}{near}")


def _in_file(tree: Tree, loc: tuple[str | int, ...]) -> Where:
    """The longest part of pydantic's location that the file holds (it appends union branches and markers)."""
    for length in range(len(loc), 0, -1):
        if loc[:length] in tree.values or loc[:length] in tree.keys:
            return loc[:length]
    return ()


def _at(where: Where) -> str:
    return f"{dotted(where)}: " if where else ""


def _unknown_key(tree: Tree, model: type[BaseModel], where: Where) -> None:
    known = names_at(model, where[:-1], tree.value)
    inside = f"{dotted(where[:-1])}: " if len(where) > 1 else ""
    listed = f"; known keys: {', '.join(known)}" if known else ""
    message = f"{inside}unknown key {where[-1]!r}{suggestion(where[-1], known)}{listed}"
    tree.problem(tree.keys.get(where) or tree.place(where), message)


def _bad_name(tree: Tree, where: Where) -> None:
    rule = "a name is 1 to 63 of a-z, 0-9, _ and -, and begins with a letter"
    tree.problem(tree.keys.get(where), f"{_at(where[:-1])}{where[-1]!r} is no name; {rule}")


def _missing(tree: Tree, model: type[BaseModel], where: Where) -> None:
    parent = where[:-1]
    place = tree.keys.get(parent) or tree.place(parent)
    section = section_at(model, parent, tree.value)
    found = _field(section, where[-1]) if section else None
    text = f" ({found.description})" if found is not None and found.description else ""
    tree.problem(place, f"{_at(parent)}the key {where[-1]!r} is missing{text}")


def _expected(error: ErrorDetails) -> str:
    kind, message = error["type"], error["msg"]
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in ("too_long", "too_short"):
        context = error["ctx"]
        most, bound = ("most", "max_length") if kind == "too_long" else ("least", "min_length")
        entries = "entry" if context[bound] == 1 else "entries"
        return f"expected at {most} {context[bound]} {entries}, received {context['actual_length'] or 'none'}"
    if message.startswith("Input should be "):
        return f"expected {message.removeprefix('Input should be ')}"
    return message.removeprefix("Value error, ")


def _received(tree: Tree, where: Where, error: ErrorDetails) -> str:
    if error["type"] in ("value_error", "too_long", "too_short"):
        return ""
    place = tree.values.get(where)
    scalar = place is not None and place.text is not None
    advice = "; put it in quotes" if scalar and error["type"] == "string_type" else ""
    if _SECRET_KEYS.intersection(map(str, where)):
        return advice
    if place is None or place.text is None:
        kind = {dict: "a mapping", list: "a list", NoneType: "nothing"}.get(type(error["input"]), "")
        return f", received {kind}" if kind else ""
    text = (
        place.text
        if len(place.text) <= _SHOWN_CHARS
        else f"{place.text[:_SHOWN_CHARS]}... ({len(place.text)} characters)"
    )
    shown = f", received {text!r}" if text else ", received nothing"
    return shown + (suggestion(text, _choices(error)) if error["type"] == "literal_error" else advice)


def _choices(error: ErrorDetails) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]


def _field(section: type[BaseModel], name: str | int) -> Any:
    for key, found in section.model_fields.items():
        if name in (found.alias, key):
            return found
    return None


def section_at(model: type[BaseModel], where: Where, value: Any = None) -> type[BaseModel] | None:
    """The model that describes the mapping at `where`; `value`, the whole file's, decides between kinds of sections."""
    here: Any = model
    for step in where:
        value = value.get(step) if isinstance(value, dict) else None
        if isinstance(here, type) and issubclass(here, BaseModel):
            found = _field(here, step)
            here = None if found is None else _chosen(found.annotation, value)
        elif get_origin(here) in (dict, list):
            here = _chosen(get_args(here)[-1], value)
        else:
            return None
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _chosen(annotation: Any, value: Any) -> Any:
    """An annotation without Annotated and Optional, of a union the member that the value says it is."""
    kinds = models(annotation)
    if len(kinds) > 1 and isinstance(value, dict):
        for kind in kinds:
            if any(
                value.get(name) in get_args(found.annotation) for name, found in kind.model_fields.items()
            ):
                return kind
    return _plain(annotation)


def models(annotation: Any) -> list[type[BaseModel]]:
    """The sections among the members of an annotation."""
    if get_origin(annotation) is Annotated:
        return models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [model for member in get_args(annotation) for model in models(member)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _plain(annotation: Any) -> Any:
    """An annotation without Annotated and Optional."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        rest = [part for part in get_args(annotation) if part is not NoneType]
        return _plain(rest[0]) if rest else annotation
    return annotation if get_origin(annotation) is not Literal else str


def names_at(model: type[BaseModel], where: Where, value: Any = None) -> list[str]:
    """The keys that the mapping at `where` may have."""
    section = section_at(model, where, value)
    return [found.alias or key for key, found in section.model_fields.items()] if section else []
