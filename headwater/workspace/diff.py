"""What changed between two workspaces, in words that never hold a secret, and what cannot change while running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headwater.errors import Problem
from headwater.workspace.model import Workspace
from headwater.workspace.tree import Where, dotted

_HIDDEN = frozenset({"write_keys"})
_OPEN_OPTIONS = frozenset({"type", "enabled", "filter"})  # of a destination; everything else may be a secret
_FIXED = {
    (
        "log",
        "partitions",
    ): "events already lie in their partitions; start with a new --dir to use another number",
    ("log", "type"): "stop Headwater, then start it again with the new setting",
    ("log", "retention_days"): "stop Headwater, then start it again with the new setting",
    ("log", "retention_bytes"): "stop Headwater, then start it again with the new setting",
}


def diff(old: Workspace, new: Workspace) -> list[str]:
    """One line for each change: `+ sources.api`, `- destinations.hook`, `limits.rate: None -> 100`."""
    return list(_compare((), old.model_dump(by_alias=True), new.model_dump(by_alias=True)))


def fixed(old: Workspace, new: Workspace, file: str = "") -> list[Problem]:
    """Changes that a running process must refuse, with what to do instead."""
    problems = []
    for where, advice in _FIXED.items():
        before, after = _get(old, where), _get(new, where)
        if before != after:
            message = f"{dotted(where)} cannot change from {before} to {after} while Headwater runs: {advice}"
            problems.append(Problem(message, file))
    return problems


def _get(workspace: Workspace, where: tuple[str, ...]) -> Any:
    here: Any = workspace
    for step in where:
        here = getattr(here, step)
    return here


def _compare(where: Where, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inside = (*where, key)
            if key not in new:
                yield f"- {dotted(inside)}"
            elif key not in old:
                yield f"+ {dotted(inside)}"
            else:
                yield from _compare(inside, old[key], new[key])
        return
    yield f"{dotted(where)}: changed" if _may_be_secret(where) else f"{dotted(where)}: {old} -> {new}"


def _may_be_secret(where: Where) -> bool:
    if where[:1] == ("destinations",):
        return len(where) < 3 or where[2] not in _OPEN_OPTIONS
    return bool(_HIDDEN.intersection(map(str, where)))
